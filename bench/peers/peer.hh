// SPDX-License-Identifier: Apache-2.0
// A peer is one program that includes this file: a class Channel that moves messages between processes, and a main()
// that hands it to peer_main(). The work, its clock and its checks are here, the same for weir and for every peer.
//
//   struct Channel {
//       explicit Channel(const Work &work);   // before anybody forks: names, descriptors
//       ~Channel();                           // in the first process alone, when all others have ended
//       struct Publisher {                    // in the process that publishes
//           Publisher(Channel &channel, const Place &place);
//           void send(const void *data, size_t bytes);   // waits for room
//       };
//       struct Subscriber {
//           Subscriber(Channel &channel, const Place &place);
//           size_t recv(void *buffer, size_t bytes);     // waits for a message; its length
//       };
//       size_t outside_bytes() const;         // of memory that the channel takes in the kernel or on tmpfs
//   };
//
// What fails throws. A program runs one round of one comparison and prints one line of JSON.
#ifndef WEIR_BENCH_PEERS_PEER_HH
#define WEIR_BENCH_PEERS_PEER_HH

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <sched.h>
#include <signal.h>
#include <stdexcept>
#include <string>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <vector>

// C headers of the bench: what they say of alignment is spelled otherwise in C++.
#define _Alignas alignas
extern "C" {
#include "bench/histogram.h"
#include "bench/pair.h"
}
#undef _Alignas

namespace peers
{

struct Work {
    std::string comparison, variant;
    std::string directory = "."; // private to this run, on disk
    std::string bus;             // private to this run, on tmpfs
    std::string program;         // that serve is to start, where it is not in $PATH
    std::string name = "peers";  // what it makes elsewhere begins with this, so that the driver can remove it
    std::string wait = "sleep";  // "poll", "sleep", or "default": as the peer does when nothing is said
    size_t bytes = 64, publishers = 1, subscribers = 1;
    double seconds = 0.2, rate = 0;
    size_t window = 1; // of messages that wait for their confirm
    int server = 0;    // its process, 0: none
    std::vector<int> cpus;
    size_t channel = 0; // its number, where there are several

    bool polls() const
    {
        return wait == "poll";
    }
    std::string text(const std::string &word, size_t number) const
    {
        return name + "-" + word + std::to_string(number) + (channel ? "-" + std::to_string(channel) : "");
    }
};

struct Place {
    size_t link;  // 0: forth, 1: back
    size_t index; // of this publisher or subscriber among those of the link
};

[[noreturn]] inline void fail(const std::string &what)
{
    throw std::runtime_error(what);
}
[[noreturn]] inline void fail_errno(const std::string &what)
{
    fail(what + ": " + std::strerror(errno));
}

// -- messages --------------------------------------------------------------------------------------------------------

constexpr uint32_t LAST = 1; // the publisher sends no more

// At the start of each payload; its last eight bytes are the sequence again, so that a torn or short one is seen.
struct Mark {
    uint64_t sequence;
    uint32_t publisher, flags;
    uint64_t due; // ticks
};
constexpr size_t BYTES_MIN = sizeof(Mark) + sizeof(uint64_t);

inline void write_mark(std::vector<uint8_t> &payload, const Mark &mark)
{
    std::memcpy(payload.data(), &mark, sizeof mark);
    std::memcpy(payload.data() + payload.size() - sizeof mark.sequence, &mark.sequence, sizeof mark.sequence);
}

// Each message of each publisher once, in order, whole.
class Checker
{
public:
    Checker(size_t publishers, size_t bytes) : next_(publishers), bytes_(bytes)
    {
    }
    Mark check(const std::vector<uint8_t> &payload, size_t bytes)
    {
        Mark mark;
        uint64_t end;
        std::memcpy(&mark, payload.data(), sizeof mark);
        std::memcpy(&end, payload.data() + bytes_ - sizeof end, sizeof end);
        if (bytes != bytes_ || mark.publisher >= next_.size() || end != mark.sequence ||
            mark.sequence != next_[mark.publisher])
            fail("a message is wrong: " + std::to_string(bytes) + " bytes, sequence " + std::to_string(mark.sequence) +
                 " of publisher " + std::to_string(mark.publisher));
        next_[mark.publisher]++;
        checked_++;
        ended_ += mark.flags & LAST ? 1 : 0;
        return mark;
    }
    bool all_ended() const
    {
        return ended_ == next_.size();
    }
    uint64_t checked() const
    {
        return checked_;
    }

private:
    std::vector<uint64_t> next_;
    size_t bytes_, ended_ = 0;
    uint64_t checked_ = 0;
};

// -- processes -------------------------------------------------------------------------------------------------------

// Where the processes of a round meet, in memory that they share.
struct Meeting {
    alignas(128) struct mem_u64 opened;
    alignas(128) struct mem_u64 go;
    alignas(128) struct mem_u64 done;
    alignas(128) struct mem_u64 counts[4];
    alignas(128) struct mem_u64 firsts[4];
    struct mem_u64 bytes[4];
};

template <class T>
T *shared_memory()
{
    void *at = mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (at == MAP_FAILED)
        fail_errno("mmap");
    return static_cast<T *>(at);
}

inline void sleep_until_ns(uint64_t when)
{
    struct timespec at = {static_cast<time_t>(when / 1000000000u), static_cast<long>(when % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr) == EINTR)
        ;
}

// Soon leaves the processor to those that it waits for.
inline void wait_for(struct mem_u64 *word, uint64_t value, const char *what)
{
    uint64_t start = bench_now_ns(), now;
    while (mem_load_acquire(word) < value) {
        if ((now = bench_now_ns()) - start > 60000000000u)
            fail(std::string("waited a minute for ") + what);
        if (now - start > 1000000)
            sleep_until_ns(now + 100000);
    }
}

// Runs parent and children, pinned, and waits until all of them have opened what they need.
class Round
{
public:
    explicit Round(const Work &work) : meeting(shared_memory<Meeting>())
    {
        int r = pair_open(&pair, work.cpus.empty() ? nullptr : work.cpus.data(), work.cpus.size(), 4096);
        if (r < 0)
            fail(std::string("two processors are needed: ") + std::strerror(-r));
    }
    ~Round()
    {
        pair_close(&pair);
        munmap(meeting, sizeof *meeting);
    }
    void opened(size_t processes)
    {
        mem_add(&meeting->opened, 1);
        wait_for(&meeting->opened, processes, "the other process to open");
    }
    void run(size_t children, const std::function<void()> &parent, const std::function<void(size_t)> &child)
    {
        parent_ = parent;
        child_ = child;
        fflush(stdout);
        int r = pair_run(&pair, children, run_parent, run_child, this);
        if (r < 0)
            fail(failed_.empty() ? std::string("a process of the round: ") + std::strerror(-r) : failed_);
    }

    struct pair pair;
    Meeting *meeting;

private:
    static int run_parent(struct pair *, void *ctx)
    {
        Round *round = static_cast<Round *>(ctx);
        try {
            round->parent_();
            return 0;
        } catch (const std::exception &error) {
            round->failed_ = error.what();
            return -EPROTO;
        }
    }
    static int run_child(struct pair *pair, size_t index, void *ctx)
    {
        try {
            pair_child_ready(pair, index);
            static_cast<Round *>(ctx)->child_(index);
            return 0;
        } catch (const std::exception &error) {
            fprintf(stderr, "%s\n", error.what());
            return -EPROTO;
        }
    }
    std::function<void()> parent_;
    std::function<void(size_t)> child_;
    std::string failed_;
};

// -- results ---------------------------------------------------------------------------------------------------------

class Result
{
public:
    void add(const char *name, double value)
    {
        char text[96];
        snprintf(text, sizeof text, "%s\"%s\":%.7g", metrics_.empty() ? "" : ",", name, value);
        metrics_ += text;
    }
    void add(const struct histogram &histogram, double per_ns)
    {
        static const struct {
            const char *name;
            double percent;
        } wanted[] = {{"p25", 25},     {"p50", 50},     {"p75", 75},       {"p90", 90},       {"p95", 95}, {"p99", 99},
                      {"p99.5", 99.5}, {"p99.9", 99.9}, {"p99.95", 99.95}, {"p99.99", 99.99}, {"max", 100}};
        for (const auto &each : wanted)
            add(each.name, static_cast<double>(histogram_percentile(&histogram, each.percent)) / per_ns);
        add("samples", static_cast<double>(histogram.count));
    }
    void add_series(const char *name, const std::vector<double> &values)
    {
        series_ += std::string(series_.empty() ? "" : ",") + "\"" + name + "\":[";
        for (size_t i = 0; i < values.size(); i++) {
            char text[40];
            snprintf(text, sizeof text, "%s%.6g", i ? "," : "", values[i]);
            series_ += text;
        }
        series_ += "]";
    }
    void print() const
    {
        printf("{\"metrics\":{%s},\"series\":{%s}}\n", metrics_.c_str(), series_.c_str());
        fflush(stdout);
    }

private:
    std::string metrics_, series_;
};

inline std::unique_ptr<struct histogram> new_histogram()
{
    auto histogram = std::make_unique<struct histogram>();
    histogram_clear(histogram.get());
    return histogram;
}

inline double seconds_of(const struct timeval &time)
{
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

// Processor time of this process, of its children that have ended, and of the server.
inline double cpu_seconds(int server)
{
    double sum = 0;
    for (int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
        struct rusage usage;
        getrusage(who, &usage);
        sum += seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
    }
    std::string path = "/proc/" + std::to_string(server) + "/stat";
    FILE *file = server ? fopen(path.c_str(), "re") : nullptr;
    unsigned long long user = 0, system = 0;
    if (file) {
        if (fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &user, &system) != 2)
            user = system = 0;
        fclose(file);
    }
    return sum + static_cast<double>(user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// Memory of a process that no other has: what it has taken with malloc and the like.
inline double anonymous_bytes(int pid)
{
    std::string path = "/proc/" + std::to_string(pid) + "/status";
    FILE *file = pid ? fopen(path.c_str(), "re") : nullptr;
    char line[256];
    unsigned long long kib = 0;
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "RssAnon: %llu", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return static_cast<double>(kib) * 1024;
}

} // namespace peers

#include "bench/peers/loops.hh"

#endif
