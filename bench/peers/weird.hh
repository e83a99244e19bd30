// SPDX-License-Identifier: Apache-2.0
// weird as a server of the harness.
#ifndef WEIR_BENCH_PEERS_WEIRD_HH
#define WEIR_BENCH_PEERS_WEIRD_HH

#include <weir.h>

#include "bench/peers/peer.hh"

inline void check(int r, const char *what)
{
    if (r < 0)
        peers::fail(std::string("weir: ") + what + ": " + weir_strerror(r) + " " + weir_last_error());
}

// Waits until weird serves a ring.
inline void await_weird(const std::string &bus, const std::string &ring)
{
    for (uint64_t start = bench_now_ns();; peers::sleep_until_ns(bench_now_ns() + 2000000)) {
        struct weir_ring_info info = {};
        info.size = sizeof info;
        check(weir_ring_inspect(bus.c_str(), ring.c_str(), &info), "inspect");
        if (info.daemon_alive == 1)
            return;
        if (bench_now_ns() - start > 20000000000u)
            peers::fail("weird does not serve the ring");
    }
}

// variant: what `sync` is to be.
inline void serve_weird(const peers::Work &work, peers::Result &)
{
    std::string config = work.directory + "/weird.conf", journal = work.directory + "/journal";
    FILE *file = fopen(config.c_str(), "we");
    if (!file || fprintf(file, "[ring]\nsync = %s\nretain_bytes = 1GiB\n", work.variant.c_str()) < 0 ||
        fclose(file) != 0)
        peers::fail_errno(config);
    execl(work.program.c_str(), "weird", "--bus", work.bus.c_str(), "--journal", journal.c_str(), "--config",
          config.c_str(), static_cast<char *>(nullptr));
    peers::fail_errno(work.program);
}

inline void ready_weird(const peers::Work &work, peers::Result &)
{
    std::string ring = work.text("ready", 0);
    check(weir_ring_create(work.bus.c_str(), ring.c_str(), nullptr), "create");
    await_weird(work.bus, ring);
    check(weir_ring_remove(work.bus.c_str(), ring.c_str(), 1, 0), "remove");
}

inline void add_weird(std::vector<peers::Command> &commands)
{
    commands.push_back({"serve", serve_weird});
    commands.push_back({"ready", ready_weird});
}

#endif
