// SPDX-License-Identifier: Apache-2.0
// boost::interprocess::message_queue. One queue a subscriber.
#include <boost/interprocess/ipc/message_queue.hpp>
#include <sys/stat.h>

#include "bench/peers/peer.hh"

using namespace peers;
using boost::interprocess::message_queue;

struct Channel {
    explicit Channel(const Work &made) : work(made), depth((4u << 20) / (made.bytes < 1024 ? 1024 : made.bytes))
    {
        for (size_t i = 0; i < 1 + work.subscribers; i++) {
            names.push_back(work.text("boost", i));
            message_queue::remove(names.back().c_str());
            message_queue(boost::interprocess::create_only, names.back().c_str(), depth, work.bytes);
        }
    }
    ~Channel()
    {
        for (const auto &name : names)
            message_queue::remove(name.c_str());
    }
    size_t outside_bytes() const
    {
        struct stat status;
        return stat(("/dev/shm/" + names[0]).c_str(), &status) == 0 ? static_cast<size_t>(status.st_blocks) * 512 : 0;
    }
    std::unique_ptr<message_queue> open_queue(size_t index) const
    {
        return std::make_unique<message_queue>(boost::interprocess::open_only, names[index].c_str());
    }

    struct Publisher {
        Publisher(Channel &channel, const Place &place) : polls(channel.work.polls())
        {
            size_t last = channel.names.size() - 1;
            for (size_t i = place.link == 1 ? last : 0; i < (place.link == 1 ? last + 1 : last); i++)
                queues.push_back(channel.open_queue(i));
        }
        void send(const void *data, size_t bytes)
        {
            for (auto &queue : queues)
                if (!polls)
                    queue->send(data, bytes, 0);
                else
                    while (!queue->try_send(data, bytes, 0))
                        ;
        }
        bool polls;
        std::vector<std::unique_ptr<message_queue>> queues;
    };
    struct Subscriber {
        Subscriber(Channel &channel, const Place &place)
            : polls(channel.work.polls()),
              queue(channel.open_queue(place.link == 1 ? channel.names.size() - 1 : place.index))
        {
        }
        size_t recv(void *buffer, size_t bytes)
        {
            message_queue::size_type got = 0;
            unsigned priority;
            if (!polls)
                queue->receive(buffer, bytes, got, priority);
            else
                while (!queue->try_receive(buffer, bytes, got, priority))
                    ;
            return got;
        }
        bool polls;
        std::unique_ptr<message_queue> queue;
    };

    Work work;
    size_t depth;
    std::vector<std::string> names;
};

int main(int argc, char **argv)
{
    return peer_main<Channel>(argc, argv);
}
