// SPDX-License-Identifier: Apache-2.0
// What becomes of a channel when kill -9 takes one of its parts. Included by loops.hh alone.
#ifndef WEIR_BENCH_PEERS_KILLS_HH
#define WEIR_BENCH_PEERS_KILLS_HH

#include "bench/peers/peer.hh"

namespace peers
{

constexpr uint64_t HUNG_NS = 3000000000u;
constexpr int KILLS = 5;

inline pid_t start_process(const Work &work, size_t cpu, const std::function<void()> &body)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        fail_errno("fork");
    if (pid > 0)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<size_t>(work.cpus.size() > cpu ? work.cpus[cpu] : static_cast<int>(cpu)), &set);
    sched_setaffinity(0, sizeof set, &set);
    try {
        body();
    } catch (const std::exception &error) {
        fprintf(stderr, "%s\n", error.what());
    }
    _exit(0);
}

inline void end_process(pid_t pid)
{
    kill(pid, SIGKILL);
    while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR)
        ;
}

template <class Channel>
void publish_until_killed(Channel &channel, const Work &work, Meeting *meeting, size_t index, uint64_t pause_ns)
{
    typename Channel::Publisher pub(channel, {0, index});
    std::vector<uint8_t> payload(work.bytes);
    for (uint64_t i = 0;; i++) {
        write_mark(payload, {i, static_cast<uint32_t>(index), 0, 0});
        pub.send(payload.data(), work.bytes);
        mem_store_release(&meeting->counts[index], i + 1);
        if (pause_ns)
            sleep_until_ns(bench_now_ns() + pause_ns);
    }
}

// firsts[] and bytes[]: sequence + 1 of the first and the last of each publisher that subscriber `which` has got.
template <class Channel>
void subscribe_until_killed(Channel &channel, const Work &work, Meeting *meeting, size_t which)
{
    typename Channel::Subscriber sub(channel, {0, 0});
    std::vector<uint8_t> payload(work.bytes);
    for (;;) {
        Mark mark;
        sub.recv(payload.data(), work.bytes);
        std::memcpy(&mark, payload.data(), sizeof mark);
        size_t at = which * 2 + (mark.publisher & 1);
        if (mem_load_acquire(&meeting->firsts[at]) == 0)
            mem_store_release(&meeting->firsts[at], mark.sequence + 1);
        mem_store_release(&meeting->bytes[at], mark.sequence + 1);
    }
}

inline double wait_ms(struct mem_u64 *word, uint64_t from_ns, uint64_t more_than = 0)
{
    while (mem_load_acquire(word) <= more_than) {
        if (bench_now_ns() - from_ns > HUNG_NS)
            return -1;
        sched_yield();
    }
    return static_cast<double>(bench_now_ns() - from_ns) / 1e6;
}

struct Kills {
    double hung = 0, longest_ms = 0, lost = 0, runs = 0;
    void add(double ms)
    {
        runs++;
        if (ms < 0)
            hung++;
        else
            longest_ms = ms > longest_ms ? ms : longest_ms;
    }
    void print(Result &result, const char *who) const
    {
        std::string name = who;
        result.add((name + "_hung").c_str(), hung);
        result.add((name + "_runs").c_str(), runs);
        result.add((name + "_ms").c_str(), longest_ms);
        result.add((name + "_lost").c_str(), lost);
    }
};

template <class Channel>
void kill_publisher(const Work &work, Kills &kills, unsigned run)
{
    Meeting *meeting = shared_memory<Meeting>();
    Work two = work;
    two.publishers = 2;
    Channel channel(two);
    pid_t sub = start_process(work, 1, [&] { subscribe_until_killed(channel, work, meeting, 0); });
    pid_t first = start_process(work, 0, [&] { publish_until_killed(channel, work, meeting, 0, 0); });
    double began = wait_ms(&meeting->bytes[0], bench_now_ns(), 100);
    sleep_until_ns(bench_now_ns() + 2000000 + run * 137123);
    end_process(first);
    uint64_t killed = bench_now_ns(), sent = mem_load_acquire(&meeting->counts[0]);
    pid_t second = start_process(work, 0, [&] { publish_until_killed(channel, work, meeting, 1, 1000000); });
    double ms = began < 0 ? -1 : wait_ms(&meeting->bytes[1], killed);
    kills.add(ms);
    uint64_t got = mem_load_acquire(&meeting->bytes[0]);
    if (ms >= 0 && sent > got) // what the dead one had sent comes before what the next one sends
        kills.lost += static_cast<double>(sent - got);
    end_process(second);
    end_process(sub);
    munmap(meeting, sizeof *meeting);
}

template <class Channel>
void kill_subscriber(const Work &work, Kills &kills, unsigned run)
{
    Meeting *meeting = shared_memory<Meeting>();
    Channel channel(work);
    pid_t first = start_process(work, 1, [&] { subscribe_until_killed(channel, work, meeting, 0); });
    pid_t pub = start_process(work, 0, [&] { publish_until_killed(channel, work, meeting, 0, 50000); });
    double began = wait_ms(&meeting->bytes[0], bench_now_ns(), 100);
    sleep_until_ns(bench_now_ns() + 2000000 + run * 137123);
    end_process(first);
    uint64_t killed = bench_now_ns(), before = mem_load_acquire(&meeting->bytes[0]);
    pid_t second = start_process(work, 1, [&] { subscribe_until_killed(channel, work, meeting, 1); });
    double ms = began < 0 ? -1 : wait_ms(&meeting->firsts[2], killed);
    if (ms >= 0) { // and the publisher goes on
        uint64_t sent = mem_load_acquire(&meeting->counts[0]);
        double after = wait_ms(&meeting->counts[0], bench_now_ns(), sent + 10);
        ms = after < 0 ? -1 : ms;
        uint64_t next = mem_load_acquire(&meeting->firsts[2]);
        if (next > before + 1)
            kills.lost += static_cast<double>(next - before - 1);
    }
    kills.add(ms);
    end_process(pub);
    end_process(second);
    munmap(meeting, sizeof *meeting);
}

template <class Channel>
void kill_server(const Work &work, Kills &kills)
{
    Meeting *meeting = shared_memory<Meeting>();
    Channel channel(work);
    pid_t sub = start_process(work, 1, [&] { subscribe_until_killed(channel, work, meeting, 0); });
    pid_t pub = start_process(work, 0, [&] { publish_until_killed(channel, work, meeting, 0, 50000); });
    double began = wait_ms(&meeting->bytes[0], bench_now_ns(), 100);
    kill(work.server, SIGKILL);
    uint64_t killed = bench_now_ns();
    // Whoever goes on without a server has sent and got these; it is not started again here.
    uint64_t got = mem_load_acquire(&meeting->bytes[0]);
    kills.add(began < 0 ? -1 : wait_ms(&meeting->bytes[0], killed, got + 1000));
    end_process(pub);
    end_process(sub);
    munmap(meeting, sizeof *meeting);
}

template <class Channel>
void recover(const Work &work, Result &result)
{
    Kills publisher, subscriber, server;
    for (unsigned i = 0; i < KILLS; i++) {
        kill_publisher<Channel>(work, publisher, i);
        kill_subscriber<Channel>(work, subscriber, i);
    }
    publisher.print(result, "publisher");
    subscriber.print(result, "subscriber");
    if (work.server) {
        kill_server<Channel>(work, server);
        server.print(result, "server");
    }
}

} // namespace peers

#endif
