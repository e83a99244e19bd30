// SPDX-License-Identifier: Apache-2.0
// iceoryx: chunks loaned, filled, published; taken by polling or behind a listener's semaphore. Publishers wait.
#include <iceoryx_posh/popo/untyped_publisher.hpp>
#include <iceoryx_posh/popo/untyped_subscriber.hpp>
#include <iceoryx_posh/popo/wait_set.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>

#include "bench/peers/peer.hh"

using namespace peers;

constexpr uint64_t QUEUE = 256; // of a subscriber: the most that Debian's build has

static void join_runtime(const Work &work)
{
    static bool joined;
    std::string name = work.name + "-" + std::to_string(getpid());
    if (!joined)
        iox::runtime::PoshRuntime::initRuntime(iox::RuntimeName_t(iox::cxx::TruncateToCapacity, name.c_str()));
    joined = true;
}

static iox::capro::ServiceDescription service(const Work &work, size_t link)
{
    auto word = [](const std::string &text) {
        return iox::capro::IdString_t(iox::cxx::TruncateToCapacity, text.c_str());
    };
    return {word("weir"), word(work.text("link", link)), word("bench")};
}

struct Channel {
    explicit Channel(const Work &made) : work(made)
    {
    }
    size_t outside_bytes() const
    {
        return 0; // the pools are all there from the start, and shared by all
    }

    struct Publisher {
        Publisher(Channel &channel, const Place &place)
        {
            const Work &work = channel.work;
            join_runtime(work);
            iox::popo::PublisherOptions options;
            options.historyCapacity = 0;
            options.subscriberTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
            publisher = std::make_unique<iox::popo::UntypedPublisher>(service(work, place.link), options);
            uint64_t start = bench_now_ns();
            while (!publisher->hasSubscribers()) {
                if (bench_now_ns() - start > 10000000000u)
                    fail("no subscriber in 10 s");
                sched_yield();
            }
        }
        void send(const void *data, size_t bytes)
        {
            for (bool sent = false; !sent;)
                publisher->loan(static_cast<uint32_t>(bytes)).and_then([&](auto &chunk) {
                    std::memcpy(chunk, data, bytes);
                    publisher->publish(chunk);
                    sent = true;
                });
        }
        std::unique_ptr<iox::popo::UntypedPublisher> publisher;
    };
    struct Subscriber {
        Subscriber(Channel &channel, const Place &place) : polls(channel.work.polls())
        {
            const Work &work = channel.work;
            join_runtime(work);
            iox::popo::SubscriberOptions options;
            options.queueCapacity = QUEUE;
            options.queueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
            subscriber = std::make_unique<iox::popo::UntypedSubscriber>(service(work, place.link), options);
            if (polls)
                return;
            set = std::make_unique<iox::popo::WaitSet<>>();
            set->attachState(*subscriber, iox::popo::SubscriberState::HAS_DATA).or_else([](auto) {
                fail("no wait set");
            });
        }
        ~Subscriber()
        {
            set.reset();
            subscriber.reset();
        }
        size_t recv(void *buffer, size_t bytes)
        {
            size_t got = 0;
            while (got == 0) {
                subscriber->take().and_then([&](const void *chunk) {
                    std::memcpy(buffer, chunk, bytes);
                    subscriber->release(chunk);
                    got = bytes;
                });
                if (got == 0 && !polls)
                    set->wait();
            }
            return got;
        }
        bool polls;
        std::unique_ptr<iox::popo::UntypedSubscriber> subscriber;
        std::unique_ptr<iox::popo::WaitSet<>> set;
    };

    Work work;
};

static void serve(const Work &, Result &)
{
    execlp("iox-roudi", "iox-roudi", "--log-level", "error", static_cast<char *>(nullptr));
    fail_errno("iox-roudi");
}

static void ready(const Work &work, Result &)
{
    for (uint64_t start = bench_now_ns(); access("/tmp/roudi", F_OK) < 0; sleep_until_ns(bench_now_ns() + 10000000))
        if (bench_now_ns() - start > 10000000000u)
            fail("iox-roudi does not come up");
    join_runtime(work);
}

int main(int argc, char **argv)
{
    std::vector<Command> commands = channel_commands<Channel>();
    commands.push_back({"serve", serve});
    commands.push_back({"ready", ready});
    return run_command(argc, argv, commands);
}
