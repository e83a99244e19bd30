// SPDX-License-Identifier: Apache-2.0
// Peers that keep messages on disk and say so. A peer is a class Client:
//
//   struct Client {
//       explicit Client(const Work &work);                        // connected, with an empty queue or stream
//       ~Client();                                                // which it removes
//       void post(const void *data, size_t bytes);                // may stay in a buffer
//       void flush();
//       uint64_t confirmed(bool wait);                            // messages so far; wait: for one more
//       void replay(uint64_t count, const Take &take);            // reads them all back, from the oldest
//   };
#ifndef WEIR_BENCH_PEERS_DURABLE_HH
#define WEIR_BENCH_PEERS_DURABLE_HH

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "bench/peers/peer.hh"

namespace peers
{

using Take = std::function<void(const void *data, size_t bytes)>;

inline void pin_to_first(const Work &work)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<size_t>(work.cpus.empty() ? 0 : work.cpus[0]), &set);
    sched_setaffinity(0, sizeof set, &set);
}

constexpr uint64_t REPLAYED_MAX = 100000; // checked in full; of more, these

template <class Client>
void confirm(const Work &work, Result &result)
{
    pin_to_first(work);
    Client client(work);
    auto histogram = new_histogram();
    std::vector<uint8_t> payload(work.bytes);
    std::vector<uint64_t> posted_ns(work.window);
    uint64_t posted = 0, confirmed = 0, enough = static_cast<uint64_t>(work.seconds * 1e9), start = bench_now_ns();
    bool open = true;
    while (open || confirmed < posted) {
        while (open && posted - confirmed < work.window) {
            write_mark(payload, {posted, 0, 0, 0});
            posted_ns[posted % work.window] = bench_now_ns();
            client.post(payload.data(), work.bytes);
            posted++;
            open = posted_ns[(posted - 1) % work.window] - start < enough;
            if (posted % 64 == 0) // what has come meanwhile
                break;
        }
        client.flush();
        uint64_t now_confirmed = client.confirmed(!open || posted - confirmed == work.window), now = bench_now_ns();
        for (; confirmed < now_confirmed; confirmed++)
            histogram_add(histogram.get(), now - posted_ns[confirmed % work.window]);
    }
    result.add("rate", static_cast<double>(confirmed) * 1e9 / static_cast<double>(bench_now_ns() - start));
    result.add(*histogram, 1);
    Checker checker(1, work.bytes);
    client.replay(posted < REPLAYED_MAX ? posted : REPLAYED_MAX, [&](const void *data, size_t bytes) {
        if (bytes != work.bytes)
            fail("a message came back with " + std::to_string(bytes) + " bytes");
        std::memcpy(payload.data(), data, bytes);
        checker.check(payload, bytes);
    });
    result.add("checked", static_cast<double>(checker.checked()));
}

// -- servers ---------------------------------------------------------------------------------------------------------

inline int free_port()
{
    struct sockaddr_in address = {};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, reinterpret_cast<struct sockaddr *>(&address), sizeof address) < 0 ||
        getsockname(fd, reinterpret_cast<struct sockaddr *>(&address), &length) < 0)
        fail_errno("a free port");
    close(fd);
    return ntohs(address.sin_port);
}

// The server's, chosen by who starts it and found in a file by the others.
inline std::string port_path(const Work &work)
{
    return work.directory + "/port";
}

inline int choose_port(const Work &work)
{
    int port = free_port();
    FILE *file = fopen(port_path(work).c_str(), "we");
    if (!file || fprintf(file, "%d\n", port) < 0 || fclose(file) != 0)
        fail_errno(port_path(work));
    return port;
}

inline int read_port(const Work &work)
{
    int port = 0;
    FILE *file = fopen(port_path(work).c_str(), "re");
    if (!file)
        return 0;
    if (fscanf(file, "%d", &port) != 1)
        port = 0;
    fclose(file);
    return port;
}

// Tries to connect until that works.
template <class Client>
void ready(const Work &work, Result &)
{
    for (uint64_t start = bench_now_ns();;) {
        try {
            Client client(work);
            return;
        } catch (const std::exception &) {
            if (bench_now_ns() - start > 50000000000u)
                throw;
        }
        sleep_until_ns(bench_now_ns() + 50000000);
    }
}

} // namespace peers

#endif
