// SPDX-License-Identifier: Apache-2.0
// Pipes and Unix sockets. variant: pipe, stream or seqpacket. One channel a subscriber; publishers share its end.
#include <fcntl.h>
#include <sys/socket.h>

#include "bench/peers/peer.hh"

using namespace peers;

constexpr int BUFFER_BYTES = 1 << 20;

struct Channel {
    struct Ends {
        int read = -1, write = -1;
    };

    explicit Channel(const Work &work) : polls(work.polls())
    {
        for (size_t i = 0; i < 1 + work.subscribers; i++) // the last one leads back
            ends.push_back(work.variant == "pipe" ? open_pipe() : open_socket(work.variant));
        stream = work.variant != "seqpacket";
    }
    ~Channel()
    {
        for (const auto &each : ends) {
            close(each.read);
            close(each.write);
        }
    }
    size_t outside_bytes() const
    {
        return held;
    }

    struct Publisher {
        Publisher(Channel &made, const Place &place) : channel(made), link(place.link)
        {
        }
        void send(const void *data, size_t bytes)
        {
            size_t last = channel.ends.size() - 1;
            if (link == 1)
                return channel.write_all(channel.ends[last].write, data, bytes);
            for (size_t i = 0; i < last; i++)
                channel.write_all(channel.ends[i].write, data, bytes);
        }
        Channel &channel;
        size_t link;
    };
    struct Subscriber {
        Subscriber(Channel &made, const Place &place)
            : channel(made), fd(made.ends[place.link == 1 ? made.ends.size() - 1 : place.index].read)
        {
        }
        size_t recv(void *buffer, size_t bytes)
        {
            size_t got = 0;
            while (got < bytes) {
                ssize_t n = read(fd, static_cast<uint8_t *>(buffer) + got, bytes - got);
                if (n == 0 || (n < 0 && errno != EAGAIN))
                    fail_errno("read");
                got += n > 0 ? static_cast<size_t>(n) : 0;
                if (n > 0 && !channel.stream)
                    break;
            }
            return got;
        }
        Channel &channel;
        int fd;
    };

    Ends open_pipe()
    {
        int fds[2];
        if (pipe(fds) < 0)
            fail_errno("pipe");
        int bytes = fcntl(fds[1], F_SETPIPE_SZ, BUFFER_BYTES);
        held = static_cast<size_t>(bytes > 0 ? bytes : fcntl(fds[1], F_GETPIPE_SZ));
        return finish({fds[0], fds[1]});
    }
    Ends open_socket(const std::string &variant)
    {
        int fds[2], bytes = BUFFER_BYTES;
        socklen_t length = sizeof bytes;
        if (socketpair(AF_UNIX, variant == "stream" ? SOCK_STREAM : SOCK_SEQPACKET, 0, fds) < 0)
            fail_errno("socketpair");
        setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
        getsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &bytes, &length);
        held = static_cast<size_t>(bytes);
        return finish({fds[0], fds[1]});
    }
    Ends finish(Ends made) const
    {
        for (int fd : {made.read, made.write})
            if (polls && fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
                fail_errno("fcntl");
        return made;
    }
    static void write_all(int fd, const void *data, size_t bytes)
    {
        const auto *at = static_cast<const uint8_t *>(data);
        while (bytes > 0) {
            ssize_t n = write(fd, at, bytes);
            if (n < 0 && errno != EAGAIN)
                fail_errno("write");
            at += n > 0 ? n : 0;
            bytes -= n > 0 ? static_cast<size_t>(n) : 0;
        }
    }

    bool polls, stream = true;
    size_t held = 0;
    std::vector<Ends> ends;
};

int main(int argc, char **argv)
{
    return peer_main<Channel>(argc, argv);
}
