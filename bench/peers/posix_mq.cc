// SPDX-License-Identifier: Apache-2.0
// POSIX message queues, with as many messages as an unprivileged process may have. One queue a subscriber.
#include <fcntl.h>
#include <mqueue.h>

#include "bench/peers/peer.hh"

using namespace peers;

constexpr long DEPTH = 10; // the default of /proc/sys/fs/mqueue/msg_max

struct Channel {
    explicit Channel(const Work &made) : work(made)
    {
        for (size_t i = 0; i < 1 + work.subscribers; i++) {
            struct mq_attr attributes = {};
            attributes.mq_maxmsg = DEPTH;
            attributes.mq_msgsize = static_cast<long>(work.bytes);
            names.push_back("/" + work.text("mq", i));
            mq_unlink(names.back().c_str());
            mqd_t queue = mq_open(names.back().c_str(), O_CREAT | O_EXCL | O_RDWR, 0600, &attributes);
            if (queue == static_cast<mqd_t>(-1))
                fail_errno("mq_open, " + std::to_string(work.bytes) + " bytes a message");
            mq_close(queue);
        }
    }
    ~Channel()
    {
        for (const auto &name : names)
            mq_unlink(name.c_str());
    }
    size_t outside_bytes() const
    {
        return static_cast<size_t>(DEPTH) * work.bytes;
    }
    mqd_t open_queue(size_t index, int flags) const
    {
        mqd_t queue = mq_open(names[index].c_str(), flags | (work.polls() ? O_NONBLOCK : 0));
        if (queue == static_cast<mqd_t>(-1))
            fail_errno("mq_open");
        return queue;
    }

    struct Publisher {
        Publisher(Channel &channel, const Place &place)
        {
            size_t last = channel.names.size() - 1;
            for (size_t i = place.link == 1 ? last : 0; i < (place.link == 1 ? last + 1 : last); i++)
                queues.push_back(channel.open_queue(i, O_WRONLY));
        }
        ~Publisher()
        {
            for (mqd_t queue : queues)
                mq_close(queue);
        }
        void send(const void *data, size_t bytes)
        {
            for (mqd_t queue : queues)
                while (mq_send(queue, static_cast<const char *>(data), bytes, 0) < 0)
                    if (errno != EAGAIN)
                        fail_errno("mq_send");
        }
        std::vector<mqd_t> queues;
    };
    struct Subscriber {
        Subscriber(Channel &channel, const Place &place)
            : queue(channel.open_queue(place.link == 1 ? channel.names.size() - 1 : place.index, O_RDONLY))
        {
        }
        ~Subscriber()
        {
            mq_close(queue);
        }
        size_t recv(void *buffer, size_t bytes)
        {
            ssize_t got;
            while ((got = mq_receive(queue, static_cast<char *>(buffer), bytes, nullptr)) < 0)
                if (errno != EAGAIN)
                    fail_errno("mq_receive");
            return static_cast<size_t>(got);
        }
        mqd_t queue;
    };

    Work work;
    std::vector<std::string> names;
};

int main(int argc, char **argv)
{
    return peer_main<Channel>(argc, argv);
}
