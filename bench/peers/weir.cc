// SPDX-License-Identifier: Apache-2.0
// weir, as one more peer. variant: exclusive or shared. In memory alone; with a journal where a consumer is slow.
#include <weir.h>

#include "bench/peers/peer.hh"
#include "bench/peers/weir_durable.hh"

using namespace peers;

struct Channel {
    explicit Channel(const Work &made) : work(made), journaled(made.server != 0)
    {
        for (size_t link = 0; link < 2; link++)
            make_ring(work.text("ring", link));
    }
    ~Channel()
    {
        for (size_t link = 0; link < 2; link++)
            weir_ring_remove(work.bus.c_str(), work.text("ring", link).c_str(), 1, 0);
    }
    size_t outside_bytes() const
    {
        struct weir_ring_info info = {};
        info.size = sizeof info;
        check(weir_ring_inspect(work.bus.c_str(), work.text("ring", 0).c_str(), &info), "inspect");
        return info.memory_bytes;
    }

    struct Publisher {
        Publisher(Channel &channel, const Place &place)
        {
            const Work &work = channel.work;
            check(weir_pub_open(work.bus.c_str(), work.text("ring", place.link).c_str(), nullptr, &pub), "pub_open");
        }
        ~Publisher()
        {
            weir_pub_close(pub);
        }
        void send(const void *data, size_t bytes)
        {
            int r = weir_pub_send(pub, data, bytes, WEIR_FOREVER, nullptr);
            if (r < 0)
                check(r, "send");
        }
        struct weir_pub *pub;
    };
    struct Subscriber {
        Subscriber(Channel &channel, const Place &place)
        {
            const Work &work = channel.work;
            struct weir_sub_options options = WEIR_SUB_OPTIONS_INIT;
            options.gating = !channel.journaled;
            options.spin_ns = work.polls() ? WEIR_FOREVER : work.wait == "sleep" ? 0 : -1;
            saves = work.comparison == "recover";
            if (saves)
                options.cursor = "reader";
            check(weir_sub_open(work.bus.c_str(), work.text("ring", place.link).c_str(), &options, &sub), "sub_open");
        }
        ~Subscriber()
        {
            weir_sub_close(sub);
        }
        size_t recv(void *buffer, size_t bytes)
        {
            if (at == count) {
                int r = weir_sub_next_batch(sub, messages, BATCH, WEIR_FOREVER);
                if (r < 0)
                    check(r, "next_batch");
                count = static_cast<size_t>(r);
                at = 0;
            }
            const struct weir_message &message = messages[at++];
            std::memcpy(buffer, message.data, message.data_bytes < bytes ? message.data_bytes : bytes);
            if (saves)
                check(weir_sub_save(sub, message.next), "save");
            return message.data_bytes;
        }
        static constexpr size_t BATCH = 64;
        struct weir_message messages[BATCH];
        size_t at = 0, count = 0; // of those that are there, the next to be handed over
        struct weir_sub *sub;
        bool saves;
    };

    void make_ring(const std::string &ring) const
    {
        struct weir_ring_options options = WEIR_RING_OPTIONS_INIT;
        options.exclusive = work.variant == "exclusive";
        options.journaled = journaled;
        options.segment_bytes = work.bytes > 16384 ? 512u << 10 : 256u << 10;
        options.max_publishers = options.exclusive ? 1 : static_cast<uint32_t>(work.publishers + 1);
        options.max_readers = static_cast<uint32_t>(work.subscribers + 1);
        // A working set of 4 MiB, with the slots that a ring has beyond its limit (docs/guarantees.md P1); as by default where
        // many take part.
        if (!journaled && work.comparison.compare(0, 3, "fan") != 0)
            options.memory_limit_bytes =
                (4u << 20) - (options.max_readers + 2 * options.max_publishers + 3) * options.segment_bytes;
        if (options.memory_limit_bytes > 4u << 20)
            options.memory_limit_bytes = 2 * options.segment_bytes;
        check(weir_ring_create(work.bus.c_str(), ring.c_str(), &options), "create");
    }

    Work work;
    bool journaled;
};

int main(int argc, char **argv)
{
    std::vector<Command> commands = channel_commands<Channel>();
    add_weird(commands);
    commands.push_back({"confirm", confirm<Journaled>});
    return run_command(argc, argv, commands);
}
