// SPDX-License-Identifier: Apache-2.0
#include "bench/peers/rounds.hh"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <fstream>
#include <jansson.h>
#include <map>
#include <memory>
#include <stdexcept>
#include <sys/utsname.h>
#include <unistd.h>

#define _Alignas alignas
extern "C" {
#include "bench/limits.h"
}
#undef _Alignas

#include "bench/peers/programs.hh"

namespace peers
{

// As weir bench has it: bare round trips below this are two cores of one cache; readings that differ by more are of cores
// that were moved in between.
constexpr double NEAR_BELOW_NS = 250, AGREE = 1.25;
constexpr size_t CALIBRATION_TRIPS = 5000, LIMIT_TRIPS = 20000;
constexpr int REPEATS_MAX = 4; // for each round that is wanted
constexpr size_t COPY_SET_BYTES = 4u << 20;

using Json = std::unique_ptr<json_t, void (*)(json_t *)>;

static Json take(json_t *value)
{
    return Json(value, json_decref);
}

static std::string print(const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(7));
    std::string line = text ? text : "";
    free(text);
    return line;
}

unsigned rounds_of(const Comparison &comparison, const RunOptions &options)
{
    auto rounds = static_cast<unsigned>(comparison.rounds * options.scale + 0.5);
    return std::max(1u, rounds);
}

static double seconds_of(const Comparison &comparison, const RunOptions &options)
{
    if (comparison.name == "slow" && options.slow_seconds > 0)
        return options.slow_seconds;
    return options.quick ? std::min(comparison.seconds, std::max(0.1, comparison.seconds / 3)) : comparison.seconds;
}

double estimate_seconds(const RunOptions &options)
{
    double sum = 0;
    for (const auto *comparison : options.comparisons)
        for (const auto *peer : options.peers)
            if (takes_part(*peer, *comparison)) {
                double each = comparison->cost * seconds_of(*comparison, options) / comparison->seconds;
                sum += each * rounds_of(*comparison, options) * static_cast<double>(comparison->cases.size()) +
                       (peer->program == "rabbitmq" ? 12
                        : peer->server              ? 2
                                                    : 0);
            }
    return sum;
}

// -- the machine -----------------------------------------------------------------------------------------------------

static std::string first_of(const std::string &path, const std::string &key)
{
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);)
        if (key.empty())
            return line;
        else if (line.compare(0, key.size(), key) == 0)
            return line.substr(line.find(':') + 2);
    return "";
}

static std::string system_name()
{
    std::ifstream file("/etc/os-release");
    for (std::string line; std::getline(file, line);)
        if (line.compare(0, 13, "PRETTY_NAME=\"") == 0)
            return line.substr(13, line.size() - 14);
    return "unknown";
}

static std::string said_by(const std::vector<std::string> &words)
{
    Outcome outcome = run_program(words, 10);
    std::string text = outcome.ok ? outcome.output : "";
    return text.substr(0, text.find('\n'));
}

static Json describe_run(const RunOptions &options, const std::string &weir_version)
{
    struct utsname system;
    uname(&system);
    char date[32];
    time_t now = time(nullptr);
    strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", gmtime(&now));
    std::string governor = first_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "");
    json_t *versions = json_object();
    for (const auto *peer : options.peers)
        for (const auto &package : peer->packages) {
            std::string version = said_by({"dpkg-query", "-W", "-f=${Version}\n", package});
            json_object_set_new(versions, package.c_str(), json_string(version.c_str()));
        }
    json_t *cpus = json_array();
    for (int cpu : options.cpus)
        json_array_append_new(cpus, json_integer(cpu));
    return take(json_pack("{s:{s:s,s:s,s:s,s:s,s:s,s:i,s:s,s:s,s:o,s:o}}", "run", "date", date, "weir",
                          weir_version.c_str(), "kernel", system.release, "machine", system.machine, "processor",
                          first_of("/proc/cpuinfo", "model name").c_str(), "processors",
                          static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN)), "governor",
                          governor.empty() ? "none" : governor.c_str(), "system", system_name().c_str(), "cpus", cpus,
                          "versions", versions));
}

// -- one measurement -------------------------------------------------------------------------------------------------

class Runner
{
public:
    Runner(const RunOptions &options, const std::function<void(const std::string &)> &record)
        : options_(options), record_(record), site_(options.directory)
    {
        int r = pair_open(&pair_, options.cpus.empty() ? nullptr : options.cpus.data(), options.cpus.size(),
                          COPY_SET_BYTES);
        if (r < 0)
            throw std::runtime_error("two processors are needed, and some are not to be had");
        cpus_.assign(pair_.cpus, pair_.cpus + pair_.cpu_count);
    }
    ~Runner()
    {
        pair_close(&pair_);
    }
    int run();

private:
    struct Measured {
        std::string subject;
        Json result;
    };

    std::vector<std::string> words(const std::string &program, const std::string &command, const std::string &variant,
                                   const std::string &wait, const Server *server) const;
    Json measure(const std::string &program, const Comparison &comparison, const Case &one, const std::string &variant,
                 const std::string &wait, const Server *server);
    Json measure_limit(const Comparison &comparison, const Case &one);
    Json measure_disk(double seconds);
    double ping();
    void round(const Peer &peer, const Comparison &comparison, const Case &one, unsigned number);
    void once(const std::string &name, const std::string &program, const Comparison &comparison, const Case &one,
              const std::string &variant, const std::string &wait, const Server *server, unsigned number);
    void run_peer(const Peer &peer, const Comparison &comparison);
    void end_servers(const Peer &peer);
    void start_servers(const Peer &peer, const Comparison &comparison);
    std::unique_ptr<Server> start_server(const std::string &program, const std::string &variant);
    void failed(const std::string &peer, const Comparison &comparison, const Case *one, const std::string &reason);
    void say(const std::string &text) const;

    const RunOptions &options_;
    const std::function<void(const std::string &)> &record_;
    Site site_;
    struct pair pair_;
    std::vector<int> cpus_;
    std::unique_ptr<Server> server_, weird_;
    std::string what_; // is being measured
    double begun_ = 0;
    int missed_ = 0;
    unsigned measured_ = 0;
};

void Runner::say(const std::string &text) const
{
    if (options_.progress) {
        fprintf(stderr, "\r\033[K%s", text.c_str());
        fflush(stderr);
    }
}

std::vector<std::string> Runner::words(const std::string &program, const std::string &command,
                                       const std::string &variant, const std::string &wait, const Server *server) const
{
    std::vector<std::string> all = {options_.programs + "/peer-" + program,
                                    command,
                                    "directory=" + site_.directory,
                                    "bus=" + site_.bus,
                                    "name=" + site_.name,
                                    "program=" + options_.weird};
    if (!variant.empty())
        all.push_back("variant=" + variant);
    if (!wait.empty())
        all.push_back("wait=" + wait);
    if (server)
        all.push_back("server=" + std::to_string(server->pid()));
    for (int cpu : cpus_)
        all.push_back("cpu=" + std::to_string(cpu));
    return all;
}

Json Runner::measure(const std::string &program, const Comparison &comparison, const Case &one,
                     const std::string &variant, const std::string &wait, const Server *server)
{
    double seconds = seconds_of(comparison, options_);
    std::vector<std::string> all = words(program, comparison.name, variant, wait, server);
    // A name of its own: what one that was killed has left is in nobody's way.
    std::string name = site_.name + "-" + std::to_string(++measured_);
    all.push_back("name=" + name);
    for (const auto &[name, value] :
         std::vector<std::pair<const char *, double>>{{"bytes", static_cast<double>(one.bytes)},
                                                      {"publishers", static_cast<double>(one.publishers)},
                                                      {"subscribers", static_cast<double>(one.subscribers)},
                                                      {"seconds", seconds},
                                                      {"rate", one.rate},
                                                      {"window", one.window}}) {
        char text[64];
        snprintf(text, sizeof text, "%s=%.12g", name, value);
        all.push_back(text);
    }
    Outcome outcome = run_program(all, 20 * seconds + 40);
    site_.clean(name);
    json_error_t error;
    json_t *result = outcome.ok ? json_loads(outcome.output.c_str(), 0, &error) : nullptr;
    if (!result)
        throw std::runtime_error(outcome.ok ? "its result is no JSON" : outcome.reason);
    return take(result);
}

static double percentile_ns(const struct histogram &histogram, double percent)
{
    return static_cast<double>(histogram_percentile(&histogram, percent)) / bench_ticks_per_ns();
}

double Runner::ping()
{
    auto histogram = std::make_unique<struct histogram>();
    histogram_clear(histogram.get());
    if (limit_ping_pong(&pair_, CALIBRATION_TRIPS, histogram.get()) < 0)
        throw std::runtime_error("the bare ping-pong failed");
    return percentile_ns(*histogram, 50);
}

// What the bare machine does with the same work; nothing where there is no such thing.
Json Runner::measure_limit(const Comparison &comparison, const Case &one)
{
    if (comparison.name == "latency") {
        auto histogram = std::make_unique<struct histogram>();
        histogram_clear(histogram.get());
        if (limit_ping_pong(&pair_, LIMIT_TRIPS, histogram.get()) < 0)
            throw std::runtime_error("the bare ping-pong failed");
        json_t *metrics = json_object();
        for (const auto &[name, percent] : std::vector<std::pair<const char *, double>>{{"p25", 25},
                                                                                        {"p50", 50},
                                                                                        {"p75", 75},
                                                                                        {"p90", 90},
                                                                                        {"p95", 95},
                                                                                        {"p99", 99},
                                                                                        {"p99.5", 99.5},
                                                                                        {"p99.9", 99.9},
                                                                                        {"p99.95", 99.95},
                                                                                        {"p99.99", 99.99}})
            json_object_set_new(metrics, name, json_real(percentile_ns(*histogram, percent)));
        json_object_set_new(metrics, "samples", json_real(LIMIT_TRIPS));
        return take(json_pack("{s:o}", "metrics", metrics));
    }
    if (comparison.name == "throughput") {
        double rate = 0;
        uint64_t messages = one.bytes <= 256 ? 1000000 : (128ull << 20) / one.bytes;
        if (limit_copy_ring(&pair_, one.bytes, COPY_SET_BYTES, messages, &rate) < 0)
            throw std::runtime_error("the bare copy ring failed");
        return take(json_pack("{s:{s:f}}", "metrics", "rate", rate));
    }
    if (comparison.kind == Kind::CONFIRM && one.window == 1)
        return measure_disk(seconds_of(comparison, options_) / 4);
    return take(nullptr);
}

// A block of a file that is written already, and a sync, one after the other.
Json Runner::measure_disk(double seconds)
{
    std::string path = site_.directory + "/limit";
    std::vector<char> block(4096, 'x');
    constexpr off_t BLOCKS = 256;
    int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (off_t i = 0; i < BLOCKS && fd >= 0; i++)
        if (pwrite(fd, block.data(), block.size(), i * 4096) != 4096)
            throw std::runtime_error(path + " cannot be written");
    if (fd < 0 || fsync(fd) < 0)
        throw std::runtime_error(path + " cannot be written");
    auto histogram = std::make_unique<struct histogram>();
    histogram_clear(histogram.get());
    auto enough = static_cast<uint64_t>(seconds * 1e9);
    uint64_t start = bench_now_ns(), before = start;
    for (off_t i = 0; before - start < enough; i++) {
        if (pwrite(fd, block.data(), block.size(), i % BLOCKS * 4096) != 4096 || fdatasync(fd) < 0)
            throw std::runtime_error(path + " cannot be written");
        uint64_t now = bench_now_ns();
        histogram_add(histogram.get(), now - before);
        before = now;
    }
    close(fd);
    unlink(path.c_str());
    json_t *metrics = json_object();
    for (const auto &[name, percent] :
         std::vector<std::pair<const char *, double>>{{"p50", 50}, {"p99", 99}, {"p99.9", 99.9}})
        json_object_set_new(metrics, name,
                            json_real(static_cast<double>(histogram_percentile(histogram.get(), percent))));
    json_object_set_new(metrics, "rate",
                        json_real(static_cast<double>(histogram->count) * 1e9 / static_cast<double>(before - start)));
    return take(json_pack("{s:o}", "metrics", metrics));
}

// -- rounds ----------------------------------------------------------------------------------------------------------

void Runner::failed(const std::string &peer, const Comparison &comparison, const Case *one, const std::string &reason)
{
    missed_ = 1;
    Json line =
        take(json_pack("{s:{s:s,s:s,s:s,s:s}}", "failed", "peer", peer.c_str(), "comparison", comparison.name.c_str(),
                       "case", one ? one->name.c_str() : "", "reason", reason.c_str()));
    record_(print(line.get()));
}

void Runner::round(const Peer &peer, const Comparison &comparison, const Case &one, unsigned number)
{
    for (int repeat = 0; repeat < REPEATS_MAX && !stopped(); repeat++) {
        std::vector<Measured> measured;
        double before = ping();
        if (server_)
            server_->pause(true);
        Json limit = measure_limit(comparison, one);
        if (limit)
            measured.push_back({"limit", std::move(limit)});
        for (const auto &subject : weir_subjects(peer, comparison))
            measured.push_back(
                {subject.name, measure("weir", comparison, one, subject.variant, subject.wait, weird_.get())});
        if (weird_)
            weird_->pause(true);
        if (server_)
            server_->pause(false);
        measured.push_back({peer.name, measure(peer.program, comparison, one, peer.variant, peer.wait, server_.get())});
        if (weird_)
            weird_->pause(false);
        double after = ping();
        bool agree = std::max(before, after) <= AGREE * std::min(before, after);
        // With a disk or a sleep in the way it does not matter how far the cores are from each other.
        if (!agree && comparison.kind != Kind::CONFIRM && repeat + 1 < REPEATS_MAX)
            continue;
        const char *place = !agree ? "moved" : std::min(before, after) < NEAR_BELOW_NS ? "near" : "far";
        for (const auto &each : measured) {
            Json line =
                take(json_pack("{s:s,s:s,s:s,s:s,s:i,s:s,s:[f,f],s:O}", "comparison", comparison.name.c_str(), "case",
                               one.name.c_str(), "peer", peer.name.c_str(), "subject", each.subject.c_str(), "round",
                               static_cast<int>(number), "place", place, "ping_ns", before, after, "metrics",
                               json_object_get(each.result.get(), "metrics")));
            record_(print(line.get()));
        }
        return;
    }
}

void Runner::once(const std::string &name, const std::string &program, const Comparison &comparison, const Case &one,
                  const std::string &variant, const std::string &wait, const Server *server, unsigned number)
{
    Json result = measure(program, comparison, one, variant, wait, server);
    Json line = take(json_pack(
        "{s:s,s:s,s:s,s:s,s:i,s:s,s:O,s:O}", "comparison", comparison.name.c_str(), "case", one.name.c_str(), "peer",
        name.c_str(), "subject", name.c_str(), "round", static_cast<int>(number), "place", "", "metrics",
        json_object_get(result.get(), "metrics"), "series", json_object_get(result.get(), "series")));
    record_(print(line.get()));
}

std::unique_ptr<Server> Runner::start_server(const std::string &program, const std::string &variant)
{
    std::string log = site_.directory + "/" + program + ".log";
    std::vector<int> others(cpus_.begin() + 1, cpus_.end());
    auto server = std::make_unique<Server>(words(program, "serve", variant, "", nullptr), others, log);
    Outcome outcome = run_program(words(program, "ready", variant, "", server.get()), 60);
    if (outcome.ok && server->runs())
        return server;
    std::string reason = outcome.ok ? "" : outcome.reason;
    std::ifstream file(log);
    for (std::string line, last; std::getline(file, line);)
        if (!line.empty())
            reason = line;
    throw std::runtime_error("its server does not start: " + reason);
}

void Runner::start_servers(const Peer &peer, const Comparison &comparison)
{
    if (comparison.kind == Kind::CONFIRM)
        weird_ = start_server("weir", peer.sync);
    if (peer.server)
        server_ = start_server(peer.program, peer.program == "weir" ? "always" : peer.variant);
}

void Runner::run_peer(const Peer &peer, const Comparison &comparison)
{
    try {
        start_servers(peer, comparison);
    } catch (const std::exception &error) {
        if (!stopped())
            failed(peer.name, comparison, nullptr, error.what());
        end_servers(peer);
        return;
    }
    for (const auto &one : comparison.cases) {
        for (unsigned i = 0; i < rounds_of(comparison, options_) && !stopped(); i++) {
            say(what_ + ", " + one.name + ", " + peer.name);
            try {
                if (comparison.kind == Kind::ONCE)
                    once(peer.name, peer.program, comparison, one, peer.variant, peer.wait, server_.get(), i);
                else
                    round(peer, comparison, one, i);
            } catch (const std::exception &error) {
                if (!stopped())
                    failed(peer.name, comparison, &one, error.what());
                break;
            }
        }
    }
    end_servers(peer);
}

void Runner::end_servers(const Peer &peer)
{
    bool ran = server_ != nullptr;
    server_.reset();
    if (ran)
        remove_left_by(peer.program);
    weird_.reset();
    end_orphans();
}

int Runner::run()
{
    std::string version;
    std::ifstream header(options_.programs + "/weir-version");
    std::getline(header, version);
    record_(print(describe_run(options_, version).get()));
    for (const auto &[peer, reason] : options_.missing) {
        missed_ = 1;
        record_(
            print(take(json_pack("{s:{s:s,s:s}}", "missing", "peer", peer.c_str(), "reason", reason.c_str())).get()));
    }
    for (size_t i = 0; i < options_.comparisons.size() && !stopped(); i++) {
        const Comparison &comparison = *options_.comparisons[i];
        what_ = std::to_string(i + 1) + "/" + std::to_string(options_.comparisons.size()) + " " + comparison.name;
        if (comparison.kind == Kind::ONCE) { // weir stands for itself there, once
            Peer weir = {"weir", "weir", "shared", "sleep", {}, false, false, "", ""};
            weir.server = comparison.name == "slow" || comparison.name == "recover";
            run_peer(weir, comparison);
        }
        for (const auto *peer : options_.peers)
            if (takes_part(*peer, comparison) && !stopped())
                run_peer(*peer, comparison);
    }
    say("");
    return missed_;
}

int run_rounds(const RunOptions &options, const std::function<void(const std::string &)> &record)
{
    Runner runner(options, record);
    return runner.run();
}

} // namespace peers
