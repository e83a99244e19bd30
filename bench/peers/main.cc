// SPDX-License-Identifier: Apache-2.0
// weir-peers: what `./run bench --peers` runs.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>
#include <unistd.h>

#include "bench/peers/programs.hh"
#include "bench/peers/report.hh"
#include "bench/peers/rounds.hh"
#include "bench/peers/table.hh"

using namespace peers;

namespace
{

struct Usage : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Arguments {
    RunOptions run;
    double seconds = 0;
    bool help = false, list = false, packages = false, json = false;
    bool whole = true; // all of what there is, as long as it takes
    std::string out, report, top;
};

void print_help()
{
    puts("usage: ./run bench --peers [PEER...] [OPTION...]\n"
         "\n"
         "Measures weir beside what else moves messages between the processes of a host, and writes a report. Packages "
         "of\n"
         "Debian that a peer needs are installed when they are missing, and stay; servers run on loopback or in a "
         "private\n"
         "folder, and end with it. Without a PEER: all of them.\n"
         "\n"
         "  --compare A,B,...   these comparisons alone\n"
         "  --quick             one round of each, and shorter ones: a look in some minutes\n"
         "  --seconds N         about so long in all, by more or fewer rounds\n"
         "  --slow-seconds N    of the consumer that is too slow (5)\n"
         "  --cpus A,B,...      the processors to use, two at least; servers get all but the first\n"
         "  --directory DIR     where journals and servers' files are, on a disk ($TMPDIR, else /var/tmp)\n"
         "  --out DIR           where REPORT.md, and peers-report/ with its plots and raw.json, go: bench for all "
         "peers and\n"
         "                      comparisons, else build/peers\n"
         "  --json              each figure on standard output, one object a line, as it comes; no report\n"
         "  --report FILE       no run: the report of what was recorded in FILE, a raw.json\n"
         "  --list              names the peers and the comparisons\n"
         "  --help              this text");
}

void print_list()
{
    puts("peers:");
    for (const auto &peer : all_peers())
        printf("  %-20s %s\n", peer.name.c_str(), peer.what.c_str());
    puts("comparisons:");
    for (const auto &comparison : all_comparisons())
        printf("  %-20s %s\n", comparison.name.c_str(), comparison.title.c_str());
}

std::vector<std::string> split(const std::string &words)
{
    std::vector<std::string> all;
    std::istringstream stream(words);
    for (std::string word; std::getline(stream, word, ',');)
        all.push_back(word);
    return all;
}

template <class T>
const T *find_named(const std::vector<T> &all, const std::string &name, const char *what)
{
    for (const auto &each : all)
        if (each.name == name)
            return &each;
    throw Usage("there is no " + std::string(what) + " " + name + "; --list names them");
}

double read_number(const std::string &value, const char *option)
{
    char *end;
    double number = std::strtod(value.c_str(), &end);
    if (value.empty() || *end || !(number > 0) || number > 86400)
        throw Usage(std::string(option) + " wants a number of seconds, not " + value);
    return number;
}

int read_cpu(const std::string &value)
{
    if (value.empty() || value.size() > 4 || value.find_first_not_of("0123456789") != std::string::npos)
        throw Usage("--cpus wants numbers of processors, not " + value);
    return std::stoi(value);
}

Arguments parse(int argc, char **argv)
{
    Arguments arguments;
    std::vector<std::string> comparisons, names;
    for (int i = 1; i < argc; i++) {
        std::string word = argv[i], option = word;
        size_t at = word.compare(0, 2, "--") == 0 ? word.find('=') : std::string::npos;
        if (at != std::string::npos)
            option = word.substr(0, at);
        auto value = [&]() -> std::string {
            if (at != std::string::npos)
                return word.substr(at + 1);
            if (++i == argc)
                throw Usage(option + " wants a value");
            return argv[i];
        };
        if (option == "--help" || option == "-h")
            arguments.help = true;
        else if (option == "--list")
            arguments.list = true;
        else if (option == "--packages") // for ./run: PEER PACKAGE... of each that is wanted
            arguments.packages = true;
        else if (option == "--quick")
            arguments.run.quick = true;
        else if (option == "--json")
            arguments.json = true;
        else if (option == "--compare")
            comparisons = split(value());
        else if (option == "--seconds")
            arguments.seconds = read_number(value(), "--seconds");
        else if (option == "--slow-seconds")
            arguments.run.slow_seconds = read_number(value(), "--slow-seconds");
        else if (option == "--cpus")
            for (const auto &cpu : split(value()))
                arguments.run.cpus.push_back(read_cpu(cpu));
        else if (option == "--directory")
            arguments.run.directory = value();
        else if (option == "--out")
            arguments.out = value();
        else if (option == "--report")
            arguments.report = value();
        else if (option == "--top")
            arguments.top = value();
        else if (option == "--programs")
            arguments.run.programs = value();
        else if (option == "--weird")
            arguments.run.weird = value();
        else if (word[0] == '-')
            throw Usage("unknown option " + word);
        else
            names.push_back(word);
    }
    for (const auto &name : names)
        arguments.run.peers.push_back(find_named(all_peers(), name, "peer"));
    for (const auto &peer : all_peers())
        if (names.empty())
            arguments.run.peers.push_back(&peer);
    for (const auto &name : comparisons)
        find_named(all_comparisons(), name, "comparison");
    for (const auto &comparison : all_comparisons())
        if (comparisons.empty() ||
            std::find(comparisons.begin(), comparisons.end(), comparison.name) != comparisons.end())
            arguments.run.comparisons.push_back(&comparison);
    arguments.whole = names.empty() && comparisons.empty() && !arguments.run.quick;
    if (arguments.out.empty())
        arguments.out = arguments.top.empty() ? "." : arguments.top + (arguments.whole ? "/bench" : "/build/peers");
    return arguments;
}

// Peers without a program are left out; the file beside the programs says why, a package a line.
void leave_out_missing(RunOptions &run)
{
    std::vector<const Peer *> there;
    for (const auto *peer : run.peers) {
        if (access((run.programs + "/peer-" + peer->program).c_str(), X_OK) == 0) {
            there.push_back(peer);
            continue;
        }
        std::string reason = "its program was not built";
        std::ifstream file(run.programs + "/not-installed");
        for (std::string line; std::getline(file, line);)
            for (const auto &package : peer->packages)
                if (line.compare(0, package.size() + 1, package + " ") == 0)
                    reason = line.substr(package.size() + 1);
        run.missing.emplace_back(peer->name, reason);
    }
    run.peers = there;
}

void write_report(const std::string &out, const std::string &raw_path)
{
    std::filesystem::create_directories(out + "/peers-report");
    std::string report;
    {
        std::ifstream raw(raw_path);
        if (!raw)
            throw std::runtime_error(raw_path + ": " + std::strerror(errno));
        report = make_report(raw, "peers-report", "peers-report/raw.json");
    }
    for (const char *plot : {"latency", "throughput", "slow", "confirm"}) // of what was not measured there is none
        std::filesystem::remove(out + "/peers-report/" + plot + ".svg");
    std::string kept = out + "/peers-report/raw.json";
    std::error_code ignored;
    if (!std::filesystem::equivalent(raw_path, kept, ignored))
        std::filesystem::copy_file(raw_path, kept, std::filesystem::copy_options::overwrite_existing);
    std::ofstream(out + "/REPORT.md") << report;
    std::ifstream raw(raw_path);
    if (!draw_plots(raw, out + "/peers-report"))
        fputs("weir-peers: no plots: gnuplot is not there, or failed\n", stderr);
}

int measure(Arguments &arguments)
{
    RunOptions &run = arguments.run;
    leave_out_missing(run);
    if (run.quick)
        run.scale = 0.2;
    if (arguments.seconds > 0)
        run.scale *= arguments.seconds / estimate_seconds(run);
    run.progress = isatty(STDERR_FILENO) == 1;
    fprintf(stderr, "measuring %zu peers, some %.0f minutes; Ctrl-C ends it\n", run.peers.size(),
            estimate_seconds(run) / 60 + 0.5);
    std::string raw_path = run.programs + "/raw.json";
    std::ofstream raw(raw_path);
    int missed = run_rounds(run, [&](const std::string &line) {
        raw << line << "\n" << std::flush;
        if (arguments.json)
            std::cout << line << std::endl;
    });
    raw.close();
    if (stopped())
        return 130;
    if (!arguments.json) {
        write_report(arguments.out, raw_path);
        printf("%s/REPORT.md\n", arguments.out.c_str());
    }
    return missed;
}

int run(int argc, char **argv)
{
    Arguments arguments = parse(argc, argv);
    if (arguments.help)
        print_help();
    else if (arguments.list)
        print_list();
    else if (arguments.packages)
        for (const auto *peer : arguments.run.peers) {
            std::string line = peer->name;
            for (const auto &package : peer->packages)
                line += " " + package;
            puts(line.c_str());
        }
    else if (!arguments.report.empty())
        write_report(arguments.out, arguments.report);
    else
        return measure(arguments);
    return 0;
}

} // namespace

int main(int argc, char **argv)
{
    catch_stops();
    try {
        return run(argc, argv);
    } catch (const Usage &error) {
        fprintf(stderr, "weir-peers: %s\n", error.what());
        return 2;
    } catch (const std::exception &error) {
        fprintf(stderr, "weir-peers: %s\n", error.what());
        return 1;
    }
}
