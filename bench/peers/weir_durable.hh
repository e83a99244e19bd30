// SPDX-License-Identifier: Apache-2.0
// weir with a journal, as a peer that confirms. variant: `sync` of weird; with another than always a confirm is that
// the kernel has it, which is what a peer tells that syncs later.
#ifndef WEIR_BENCH_PEERS_WEIR_DURABLE_HH
#define WEIR_BENCH_PEERS_WEIR_DURABLE_HH

#include <deque>

#include "bench/peers/durable.hh"
#include "bench/peers/weird.hh"

struct Journaled {
    explicit Journaled(const peers::Work &work)
        : bus(work.bus), ring(work.text("confirm", 0)), level(work.variant == "always" ? WEIR_DURABLE : WEIR_WRITTEN)
    {
        check(weir_ring_create(bus.c_str(), ring.c_str(), nullptr), "create");
        check(weir_pub_open(bus.c_str(), ring.c_str(), nullptr, &pub), "pub_open");
        await_weird(bus, ring);
    }
    ~Journaled()
    {
        weir_pub_close(pub);
        weir_ring_remove(bus.c_str(), ring.c_str(), 1, 0);
    }
    void post(const void *data, size_t bytes)
    {
        uint64_t position;
        check(weir_pub_send(pub, data, bytes, WEIR_FOREVER, &position), "send");
        waiting.push_back(position);
    }
    void flush()
    {
    }
    uint64_t confirmed(bool wait)
    {
        for (; !waiting.empty(); wait = false, waiting.pop_front(), count++) {
            int r = wait ? weir_pub_wait(pub, waiting.front(), level, WEIR_FOREVER)
                         : weir_pub_confirm(pub, waiting.front(), level);
            if (r == -EAGAIN)
                break;
            check(r, "confirm");
        }
        return count;
    }
    void replay(uint64_t wanted, const peers::Take &take)
    {
        struct weir_sub *sub;
        check(weir_sub_open(bus.c_str(), ring.c_str(), nullptr, &sub), "sub_open");
        for (uint64_t got = 0; got < wanted; got++) {
            struct weir_message message;
            check(weir_sub_next(sub, 20000000000, &message), "messages are missing");
            take(message.data, message.data_bytes);
        }
        weir_sub_close(sub);
    }

    std::string bus, ring;
    enum weir_level level;
    struct weir_pub *pub = nullptr;
    std::deque<uint64_t> waiting;
    uint64_t count = 0;
};

#endif
