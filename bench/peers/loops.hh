// SPDX-License-Identifier: Apache-2.0
// The comparisons, over any Channel. Included by peer.hh alone.
#ifndef WEIR_BENCH_PEERS_LOOPS_HH
#define WEIR_BENCH_PEERS_LOOPS_HH

#include "bench/peers/kills.hh"
#include "bench/peers/peer.hh"

namespace peers
{

// -- round trip ------------------------------------------------------------------------------------------------------

constexpr uint64_t TRIPS_WARM = 200, TRIPS_LEAST = 10000;

template <class Channel>
void round_trip(const Work &work, Result &result)
{
    Round round(work);
    Channel channel(work);
    auto histogram = new_histogram();
    uint64_t trips = 0;
    auto parent = [&] {
        typename Channel::Publisher pub(channel, {0, 0});
        typename Channel::Subscriber sub(channel, {1, 0});
        round.opened(2);
        std::vector<uint8_t> out(work.bytes), in(work.bytes);
        Checker checker(1, work.bytes);
        uint64_t enough = static_cast<uint64_t>(work.seconds * 1e9), start = bench_now_ns();
        for (bool last = false; !last; trips++) {
            uint64_t spent = trips % 64 ? 0 : bench_now_ns() - start;
            last = (spent > enough && trips >= TRIPS_WARM + TRIPS_LEAST) || spent > 8 * enough;
            write_mark(out, {trips, 0, last ? LAST : 0, 0});
            uint64_t sent = bench_ticks();
            pub.send(out.data(), work.bytes);
            size_t bytes = sub.recv(in.data(), work.bytes);
            uint64_t ticks = bench_ticks() - sent;
            checker.check(in, bytes);
            if (trips >= TRIPS_WARM)
                histogram_add(histogram.get(), ticks);
        }
        mem_store_release(&round.meeting->done, 1);
    };
    auto child = [&](size_t) {
        typename Channel::Subscriber sub(channel, {0, 0});
        typename Channel::Publisher pub(channel, {1, 0});
        round.opened(2);
        std::vector<uint8_t> payload(work.bytes);
        Checker checker(1, work.bytes);
        while (!checker.all_ended()) {
            size_t bytes = sub.recv(payload.data(), work.bytes);
            checker.check(payload, bytes);
            pub.send(payload.data(), work.bytes);
        }
        wait_for(&round.meeting->done, 1, "the first process");
    };
    round.run(1, parent, child);
    result.add(*histogram, bench_ticks_per_ns());
}

// -- open loop -------------------------------------------------------------------------------------------------------

// From when a message was due to when it was received: a stall counts for each message that it delays.
template <class Channel>
void open_loop(const Work &work, Result &result)
{
    Round round(work);
    Channel channel(work);
    struct histogram *histogram = shared_memory<struct histogram>();
    double every = bench_ticks_per_ns() * 1e9 / work.rate;
    auto count = static_cast<uint64_t>(work.seconds * work.rate);
    auto parent = [&] {
        typename Channel::Publisher pub(channel, {0, 0});
        round.opened(2);
        std::vector<uint8_t> payload(work.bytes);
        uint64_t start = bench_ticks();
        for (uint64_t i = 0; i < count; i++) {
            uint64_t due = start + static_cast<uint64_t>(static_cast<double>(i) * every);
            while (static_cast<int64_t>(bench_ticks() - due) < 0)
                ;
            write_mark(payload, {i, 0, i + 1 == count ? LAST : 0, due});
            pub.send(payload.data(), work.bytes);
        }
        wait_for(&round.meeting->done, 1, "the subscriber");
    };
    auto child = [&](size_t) {
        typename Channel::Subscriber sub(channel, {0, 0});
        round.opened(2);
        std::vector<uint8_t> payload(work.bytes);
        Checker checker(1, work.bytes);
        while (!checker.all_ended()) {
            size_t bytes = sub.recv(payload.data(), work.bytes);
            int64_t ticks = static_cast<int64_t>(bench_ticks() - checker.check(payload, bytes).due);
            histogram_add(histogram, ticks < 0 ? 0 : static_cast<uint64_t>(ticks));
        }
        mem_store_release(&round.meeting->done, 1);
    };
    round.run(1, parent, child);
    result.add(*histogram, bench_ticks_per_ns());
    munmap(histogram, sizeof *histogram);
}

// -- throughput ------------------------------------------------------------------------------------------------------

// Sends for a while, then a last one. Messages sent.
template <class Publisher>
uint64_t send_for(Publisher &pub, const Work &work, uint32_t publisher)
{
    std::vector<uint8_t> payload(work.bytes);
    uint64_t enough = static_cast<uint64_t>(work.seconds * 1e9), start = bench_now_ns(), i = 0;
    size_t look = work.bytes <= 1024 ? 256 : 16;
    for (bool last = false; !last; i++) {
        last = i % look == look - 1 && bench_now_ns() - start > enough;
        write_mark(payload, {i, publisher, last ? LAST : 0, 0});
        pub.send(payload.data(), work.bytes);
    }
    return i;
}

template <class Subscriber>
uint64_t take_all(Subscriber &sub, const Work &work, size_t publishers)
{
    std::vector<uint8_t> payload(work.bytes);
    Checker checker(publishers, work.bytes);
    while (!checker.all_ended()) {
        size_t bytes = sub.recv(payload.data(), work.bytes);
        checker.check(payload, bytes);
    }
    return checker.checked();
}

template <class Channel>
void fan_in(const Work &work, Result &result)
{
    Round round(work);
    Channel channel(work);
    auto parent = [&] {
        typename Channel::Subscriber sub(channel, {0, 0});
        round.opened(1 + work.publishers);
        std::vector<uint8_t> payload(work.bytes);
        for (size_t i = 0; i < work.publishers; i++) // all are connected then, and the clock is about messages alone
            sub.recv(payload.data(), work.bytes);
        uint64_t start = bench_now_ns(), checked;
        mem_store_release(&round.meeting->go, 1);
        checked = take_all(sub, work, work.publishers);
        result.add("rate", static_cast<double>(checked) * 1e9 / static_cast<double>(bench_now_ns() - start));
        result.add("checked", static_cast<double>(checked));
        mem_store_release(&round.meeting->done, 1);
    };
    auto child = [&](size_t index) {
        typename Channel::Publisher pub(channel, {0, index});
        round.opened(1 + work.publishers);
        pub.send(std::vector<uint8_t>(work.bytes).data(), work.bytes);
        wait_for(&round.meeting->go, 1, "the start");
        send_for(pub, work, static_cast<uint32_t>(index));
        wait_for(&round.meeting->done, 1, "the subscriber");
    };
    round.run(work.publishers, parent, child);
}

template <class Channel>
void fan_out(const Work &work, Result &result)
{
    Round round(work);
    Channel channel(work);
    auto parent = [&] {
        typename Channel::Publisher pub(channel, {0, 0});
        round.opened(1 + work.subscribers);
        pub.send(std::vector<uint8_t>(work.bytes).data(), work.bytes);
        wait_for(&round.meeting->counts[0], work.subscribers, "the first message");
        uint64_t start = bench_now_ns(), sent = send_for(pub, work, 0);
        wait_for(&round.meeting->done, work.subscribers, "the subscribers");
        result.add("rate", static_cast<double>(sent) * 1e9 / static_cast<double>(bench_now_ns() - start));
        result.add("checked", static_cast<double>(sent * work.subscribers));
    };
    auto child = [&](size_t index) {
        typename Channel::Subscriber sub(channel, {0, index});
        round.opened(1 + work.subscribers);
        std::vector<uint8_t> payload(work.bytes);
        sub.recv(payload.data(), work.bytes);
        mem_add(&round.meeting->counts[0], 1);
        take_all(sub, work, 1);
        mem_add(&round.meeting->done, 1);
        wait_for(&round.meeting->done, work.subscribers, "the other subscribers");
    };
    round.run(work.subscribers, parent, child);
}

// -- processor time --------------------------------------------------------------------------------------------------

// A rate that all of them reach, in bursts of a millisecond, both sides asleep in between; at rate 0 nothing is sent.
template <class Channel>
void cpu(const Work &work, Result &result)
{
    Round round(work);
    Channel channel(work);
    auto bursts = static_cast<uint64_t>(work.seconds * 1000), burst = static_cast<uint64_t>(work.rate / 1000);
    double before = 0;
    uint64_t checked = bursts * burst;
    auto parent = [&] {
        typename Channel::Publisher pub(channel, {0, 0});
        round.opened(2);
        std::vector<uint8_t> payload(work.bytes);
        uint64_t start = bench_now_ns(), sequence = 0;
        before = cpu_seconds(work.server);
        mem_store_release(&round.meeting->go, 1);
        for (uint64_t i = 0; i < bursts && burst; i++) {
            sleep_until_ns(start + i * 1000000);
            for (uint64_t k = 0; k < burst; k++, sequence++) {
                write_mark(payload, {sequence, 0, 0, 0});
                pub.send(payload.data(), work.bytes);
            }
        }
        sleep_until_ns(start + bursts * 1000000);
        write_mark(payload, {sequence, 0, LAST, 0});
        pub.send(payload.data(), work.bytes);
        while (mem_load_acquire(&round.meeting->done) == 0)
            sleep_until_ns(bench_now_ns() + 1000000);
    };
    auto child = [&](size_t) {
        typename Channel::Subscriber sub(channel, {0, 0});
        round.opened(2);
        struct rusage usage;
        getrusage(RUSAGE_SELF, &usage);
        double spent = seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
        mem_store_release(&round.meeting->counts[0], static_cast<uint64_t>(spent * 1e6));
        take_all(sub, work, 1);
        mem_store_release(&round.meeting->done, 1);
    };
    round.run(1, parent, child);
    double opening = static_cast<double>(mem_load_acquire(&round.meeting->counts[0])) / 1e6;
    double spent = cpu_seconds(work.server) - before - opening;
    if (burst)
        result.add("us_a_message", spent * 1e6 / static_cast<double>(checked));
    else
        result.add("percent", spent * 100 / work.seconds);
}

// -- memory ----------------------------------------------------------------------------------------------------------

constexpr size_t MEMORY_CHANNELS = 8;

// Of each channel more: what both processes and the server take, and what lies in the kernel or on tmpfs.
template <class Channel>
void memory(const Work &work, Result &result)
{
    struct All {
        std::vector<std::unique_ptr<Channel>> channels;
    } all;
    for (size_t i = 0; i <= MEMORY_CHANNELS; i++) {
        Work each = work;
        each.channel = i + 1;
        all.channels.push_back(std::make_unique<Channel>(each));
    }
    Round round(work);
    Meeting *meeting = round.meeting;
    double first = 0, last = 0, outside = 0;
    auto taken = [&] { return anonymous_bytes(getpid()) + anonymous_bytes(work.server); };
    auto parent = [&] {
        std::vector<std::unique_ptr<typename Channel::Publisher>> pubs;
        std::vector<uint8_t> payload(work.bytes);
        for (size_t i = 0; i <= MEMORY_CHANNELS; i++) {
            pubs.push_back(std::make_unique<typename Channel::Publisher>(*all.channels[i], Place{0, 0}));
            write_mark(payload, {0, 0, LAST, 0});
            pubs.back()->send(payload.data(), work.bytes);
            wait_for(&meeting->done, i + 1, "the subscriber");
            (i == 0 ? first : last) = taken() + static_cast<double>(mem_load_acquire(&meeting->bytes[i == 0 ? 0 : 1]));
        }
        outside = static_cast<double>(all.channels[1]->outside_bytes());
        mem_store_release(&meeting->go, 1);
    };
    auto child = [&](size_t) {
        std::vector<std::unique_ptr<typename Channel::Subscriber>> subs;
        for (size_t i = 0; i <= MEMORY_CHANNELS; i++) {
            subs.push_back(std::make_unique<typename Channel::Subscriber>(*all.channels[i], Place{0, 0}));
            take_all(*subs.back(), work, 1);
            mem_store_release(&meeting->bytes[i == 0 ? 0 : 1], static_cast<uint64_t>(anonymous_bytes(getpid())));
            mem_store_release(&meeting->done, i + 1);
        }
        wait_for(&meeting->go, 1, "the publisher");
    };
    round.run(1, parent, child);
    double more = (last - first) / MEMORY_CHANNELS;
    result.add("process_bytes", more > 0 ? more : 0);
    result.add("outside_bytes", outside);
    result.add("bytes", (more > 0 ? more : 0) + outside);
}

// -- slow consumer ---------------------------------------------------------------------------------------------------

constexpr double SLOW_STEP = 0.1; // seconds, of the series

// A publisher that keeps to its rate if it can; a consumer that takes a tenth of it, and the rest when the time is over.
template <class Channel>
void slow(const Work &work, Result &result)
{
    Round round(work);
    Channel channel(work);
    auto histogram = new_histogram();
    uint64_t span = static_cast<uint64_t>(work.seconds * 1e9), sent = 0;
    double every = 1e9 / work.rate, memory_bytes = 0;
    auto steps = static_cast<size_t>(work.seconds / SLOW_STEP + 0.5);
    std::vector<double> late(steps), rates(steps);
    Meeting *meeting = round.meeting;
    auto parent = [&] {
        typename Channel::Publisher pub(channel, {0, 0});
        round.opened(2);
        std::vector<uint8_t> payload(work.bytes);
        double before = anonymous_bytes(getpid()) + anonymous_bytes(work.server);
        uint64_t start = bench_now_ns(), now = start;
        mem_store_release(&meeting->firsts[0], start);
        mem_store_release(&meeting->go, 1);
        while (now - start < span) {
            uint64_t due = start + static_cast<uint64_t>(static_cast<double>(sent) * every);
            if (due - start >= span)
                break;
            if (due > now + 200000)
                sleep_until_ns(due - 100000);
            while ((now = bench_now_ns()) < due)
                ;
            write_mark(payload, {sent, 0, 0, 0});
            pub.send(payload.data(), work.bytes);
            now = bench_now_ns();
            sent++;
            histogram_add(histogram.get(), now - due);
            size_t step = static_cast<size_t>(static_cast<double>(now - start) / 1e9 / SLOW_STEP);
            if (step < steps) {
                double us = static_cast<double>(now - due) / 1e3;
                late[step] = us > late[step] ? us : late[step];
                rates[step] += 1 / SLOW_STEP;
            }
        }
        memory_bytes = anonymous_bytes(getpid()) + anonymous_bytes(work.server) - before +
                       static_cast<double>(mem_load_acquire(&meeting->bytes[0])) +
                       static_cast<double>(channel.outside_bytes());
        write_mark(payload, {sent, 0, LAST, 0});
        pub.send(payload.data(), work.bytes);
        wait_for(&meeting->done, 1, "the consumer");
    };
    auto child = [&](size_t) {
        typename Channel::Subscriber sub(channel, {0, 0});
        round.opened(2);
        wait_for(&meeting->go, 1, "the start");
        std::vector<uint8_t> payload(work.bytes);
        Checker checker(1, work.bytes);
        double before = anonymous_bytes(getpid());
        uint64_t start = mem_load_acquire(&meeting->firsts[0]), now;
        while (!checker.all_ended()) {
            size_t bytes = sub.recv(payload.data(), work.bytes);
            checker.check(payload, bytes);
            mem_store_release(&meeting->counts[0], checker.checked());
            now = bench_now_ns();
            if (now - start >= span)
                continue;
            double more = anonymous_bytes(getpid()) - before;
            mem_store_release(&meeting->bytes[0], static_cast<uint64_t>(more > 0 ? more : 0));
            uint64_t next = start + static_cast<uint64_t>(static_cast<double>(checker.checked()) * every * 10);
            if (next > now)
                sleep_until_ns(next < start + span ? next : start + span);
        }
        mem_store_release(&meeting->done, 1);
    };
    round.run(1, parent, child);
    result.add(*histogram, 1);
    result.add("sent", static_cast<double>(sent) / (work.rate * work.seconds));
    result.add("lost", static_cast<double>(sent + 1 - mem_load_acquire(&meeting->counts[0])));
    result.add("bytes", memory_bytes);
    result.add_series("late_us", late);
    result.add_series("rate", rates);
}

// -- main ------------------------------------------------------------------------------------------------------------

inline Work parse_work(int argc, char **argv)
{
    Work work;
    if (argc < 2)
        fail("usage: peer COMPARISON [NAME=VALUE...]; started by weir-peers");
    work.comparison = argv[1];
    for (int i = 2; i < argc; i++) {
        std::string word = argv[i];
        size_t at = word.find('=');
        std::string name = word.substr(0, at), value = at == std::string::npos ? "" : word.substr(at + 1);
        if (name == "variant")
            work.variant = value;
        else if (name == "directory")
            work.directory = value;
        else if (name == "bus")
            work.bus = value;
        else if (name == "name")
            work.name = value;
        else if (name == "program")
            work.program = value;
        else if (name == "wait")
            work.wait = value;
        else if (name == "bytes")
            work.bytes = std::stoul(value);
        else if (name == "publishers")
            work.publishers = std::stoul(value);
        else if (name == "subscribers")
            work.subscribers = std::stoul(value);
        else if (name == "seconds")
            work.seconds = std::stod(value);
        else if (name == "rate")
            work.rate = std::stod(value);
        else if (name == "window")
            work.window = std::stoul(value);
        else if (name == "server")
            work.server = std::stoi(value);
        else if (name == "cpu")
            work.cpus.push_back(std::stoi(value));
        else
            fail("unknown argument " + word);
    }
    if (work.bytes < BYTES_MIN)
        fail("messages have at least " + std::to_string(BYTES_MIN) + " bytes");
    return work;
}

struct Command {
    const char *name;
    std::function<void(const Work &, Result &)> run;
};

inline int run_command(int argc, char **argv, const std::vector<Command> &commands)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_IGN);
    try {
        Work work = parse_work(argc, argv);
        for (const auto &command : commands)
            if (work.comparison == command.name) {
                Result result;
                command.run(work, result);
                result.print();
                return 0;
            }
        fail("it does not do " + work.comparison);
    } catch (const std::exception &error) {
        fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}

template <class Channel>
std::vector<Command> channel_commands()
{
    return {{"latency", round_trip<Channel>}, {"openloop", open_loop<Channel>}, {"throughput", fan_in<Channel>},
            {"fan-in", fan_in<Channel>},      {"fan-out", fan_out<Channel>},    {"cpu", cpu<Channel>},
            {"memory", memory<Channel>},      {"slow", slow<Channel>},          {"recover", recover<Channel>}};
}

template <class Channel>
int peer_main(int argc, char **argv)
{
    return run_command(argc, argv, channel_commands<Channel>());
}

} // namespace peers

#endif
