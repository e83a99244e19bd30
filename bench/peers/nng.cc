// SPDX-License-Identifier: Apache-2.0
// nng over ipc://, push0 to pull0, which loses nothing while both live. A publisher has one socket for each subscriber.
#include <nng/nng.h>
#include <nng/protocol/pipeline0/pull.h>
#include <nng/protocol/pipeline0/push.h>

#include "bench/peers/peer.hh"

using namespace peers;

constexpr int DEPTH = 1024; // messages, on either side

static void check_nng(int r, const char *what)
{
    if (r != 0)
        fail(std::string(what) + ": " + nng_strerror(r));
}

struct Channel {
    explicit Channel(const Work &made) : work(made)
    {
    }
    std::string address(size_t link, size_t index) const
    {
        return "ipc://" + work.directory + "/" + work.text("nng" + std::to_string(link), index);
    }
    size_t outside_bytes() const
    {
        return 0;
    }

    struct Publisher {
        Publisher(Channel &channel, const Place &place)
        {
            for (size_t i = 0; i < (place.link ? 1 : channel.work.subscribers); i++) {
                nng_socket socket;
                check_nng(nng_push0_open(&socket), "nng_push0_open");
                check_nng(nng_socket_set_int(socket, NNG_OPT_SENDBUF, DEPTH), "send buffer");
                check_nng(nng_socket_set_ms(socket, NNG_OPT_RECONNMINT, 1), "reconnect");
                check_nng(nng_socket_set_ms(socket, NNG_OPT_RECONNMAXT, 10), "reconnect");
                check_nng(nng_dial(socket, channel.address(place.link, i).c_str(), nullptr, NNG_FLAG_NONBLOCK),
                          "nng_dial");
                sockets.push_back(socket);
            }
        }
        ~Publisher()
        {
            for (nng_socket socket : sockets)
                nng_close(socket);
        }
        void send(const void *data, size_t bytes)
        {
            for (nng_socket socket : sockets)
                check_nng(nng_send(socket, const_cast<void *>(data), bytes, 0), "nng_send");
        }
        std::vector<nng_socket> sockets;
    };
    struct Subscriber {
        Subscriber(Channel &channel, const Place &place)
        {
            check_nng(nng_pull0_open(&socket), "nng_pull0_open");
            std::string path = channel.address(place.link, place.index);
            unlink(path.c_str() + sizeof "ipc://" - 1); // left by one that was killed
            check_nng(nng_listen(socket, path.c_str(), nullptr, 0), "nng_listen");
        }
        ~Subscriber()
        {
            nng_close(socket);
        }
        size_t recv(void *buffer, size_t bytes)
        {
            size_t got = bytes;
            check_nng(nng_recv(socket, buffer, &got, 0), "nng_recv");
            return got;
        }
        nng_socket socket;
    };

    Work work;
};

int main(int argc, char **argv)
{
    return peer_main<Channel>(argc, argv);
}
