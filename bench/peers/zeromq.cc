// SPDX-License-Identifier: Apache-2.0
// ZeroMQ over ipc://, PUSH to PULL, which loses nothing. A publisher has one socket for each subscriber.
#include <zmq.h>

#include "bench/peers/peer.hh"

using namespace peers;

struct Channel {
    explicit Channel(const Work &made) : work(made)
    {
    }
    std::string address(size_t link, size_t index) const
    {
        return "ipc://" + work.directory + "/" + work.text("zmq" + std::to_string(link), index);
    }
    size_t outside_bytes() const
    {
        return 0;
    }

    struct Publisher {
        Publisher(Channel &channel, const Place &place) : context(zmq_ctx_new())
        {
            for (size_t i = 0; i < (place.link ? 1 : channel.work.subscribers); i++) {
                void *socket = zmq_socket(context, ZMQ_PUSH);
                int linger = 10000, again_ms = 1; // else it looks for a subscriber each 100 ms
                zmq_setsockopt(socket, ZMQ_RECONNECT_IVL, &again_ms, sizeof again_ms);
                zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
                if (zmq_connect(socket, channel.address(place.link, i).c_str()) < 0)
                    fail(std::string("zmq_connect: ") + zmq_strerror(zmq_errno()));
                sockets.push_back(socket);
            }
        }
        ~Publisher()
        {
            for (void *socket : sockets)
                zmq_close(socket);
            zmq_ctx_term(context);
        }
        void send(const void *data, size_t bytes)
        {
            for (void *socket : sockets)
                while (zmq_send(socket, data, bytes, 0) < 0)
                    if (zmq_errno() != EINTR)
                        fail(std::string("zmq_send: ") + zmq_strerror(zmq_errno()));
        }
        void *context;
        std::vector<void *> sockets;
    };
    struct Subscriber {
        Subscriber(Channel &channel, const Place &place) : context(zmq_ctx_new()), socket(zmq_socket(context, ZMQ_PULL))
        {
            if (zmq_bind(socket, channel.address(place.link, place.index).c_str()) < 0)
                fail(std::string("zmq_bind: ") + zmq_strerror(zmq_errno()));
        }
        ~Subscriber()
        {
            zmq_close(socket);
            zmq_ctx_term(context);
        }
        size_t recv(void *buffer, size_t bytes)
        {
            int got;
            while ((got = zmq_recv(socket, buffer, bytes, 0)) < 0)
                if (zmq_errno() != EINTR)
                    fail(std::string("zmq_recv: ") + zmq_strerror(zmq_errno()));
            return static_cast<size_t>(got);
        }
        void *context, *socket;
    };

    Work work;
};

int main(int argc, char **argv)
{
    return peer_main<Channel>(argc, argv);
}
