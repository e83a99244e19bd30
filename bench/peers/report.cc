// SPDX-License-Identifier: Apache-2.0
#include "bench/peers/report.hh"

#include <cstdarg>
#include <cstdio>
#include <initializer_list>
#include <map>
#include <sstream>

#include "bench/peers/recorded.hh"
#include "bench/peers/table.hh"

namespace peers
{

// -- numbers as text -------------------------------------------------------------------------------------------------

__attribute__((format(printf, 1, 2))) static std::string number(const char *format, ...)
{
    char buffer[64];
    va_list values;
    va_start(values, format);
    vsnprintf(buffer, sizeof buffer, format, values);
    va_end(values);
    return buffer;
}

static std::string digits(double value)
{
    return value >= 100 ? number("%.0f", value) : value >= 10 ? number("%.1f", value) : number("%.2f", value);
}

static std::string duration(double ns)
{
    if (ns < 1000)
        return number("%.0f ns", ns);
    if (ns < 1e6)
        return digits(ns / 1e3) + " us";
    return digits(ns / 1e6) + " ms";
}

static std::string rate(double a_second)
{
    return a_second >= 1e6 ? digits(a_second / 1e6) + " M/s" : digits(a_second / 1e3) + " k/s";
}

static std::string size(double bytes)
{
    return bytes >= 1 << 20 ? digits(bytes / (1 << 20)) + " MiB" : digits(bytes / 1024) + " KiB";
}

static std::string ratio(const Spread &spread)
{
    if (spread.count == 0)
        return "";
    if (spread.count == 1)
        return digits(spread.median);
    return digits(spread.median) + " (" + digits(spread.least) + " to " + digits(spread.most) + ")";
}

static std::string line(const std::vector<std::string> &cells)
{
    std::string all = "|";
    for (const auto &cell : cells)
        all += " " + cell + " |";
    return all + "\n";
}

static std::string heading(const std::vector<std::string> &cells)
{
    std::string all = line(cells) + "|";
    for (size_t i = 0; i < cells.size(); i++)
        all += i ? "---:|" : "---|";
    return all + "\n";
}

// -- tables ----------------------------------------------------------------------------------------------------------

class Report
{
public:
    Report(const Recorded &recorded, std::string plots, std::string raw)
        : recorded_(recorded), plots_(std::move(plots)), raw_(std::move(raw))
    {
    }
    std::string make();

private:
    void head();
    void failures();
    void comparison(const Comparison &comparison);
    void latency_table(const Comparison &comparison, const std::string &name, const std::string &place);
    void rate_table(const Comparison &comparison, const Case &one, const std::string &place);
    void confirm_table(const Comparison &comparison, const std::string &name);
    void once_table(const Comparison &comparison, const std::string &name);
    void limits();
    void summary();
    void note_ratio(const std::string &where, const std::string &place, const std::string &peer,
                    const std::string &subject, const Spread &spread);

    const Recorded &recorded_;
    std::string plots_, raw_;
    std::ostringstream out_;
    std::vector<std::string> behind_;
    size_t ratios_ = 0;
};

void Report::note_ratio(const std::string &where, const std::string &place, const std::string &peer,
                        const std::string &subject, const Spread &spread)
{
    if (spread.count == 0)
        return;
    ratios_++;
    if (spread.median < 1)
        behind_.push_back("| " + where + " | " + place + " | " + subject + " | " + peer + " | " + ratio(spread) +
                          " | " + std::to_string(spread.count) + " |\n");
}

void Report::head()
{
    const json_t *run = recorded_.run.get();
    out_ << "# weir beside its peers\n\n"
         << "Made by `./run bench --peers`, not by hand; the figures of each round are in [" << raw_ << "](" << raw_
         << ").\n\n"
         << "| | |\n|---|---|\n";
    const std::vector<std::pair<const char *, const char *>> facts = {
        {"date", "date"},     {"weir", "weir"},           {"kernel", "kernel"},
        {"system", "system"}, {"processor", "processor"}, {"governor", "governor"}};
    for (const auto &[name, key] : facts)
        out_ << "| " << name << " | " << text(run, key) << " |\n";
    out_ << "| processors | " << json_integer_value(json_object_get(run, "processors")) << " |\n";
    const char *package;
    json_t *version;
    json_object_foreach(json_object_get(run, "versions"), package, version) out_
        << "| " << package << " | " << (json_string_length(version) ? json_string_value(version) : "not installed")
        << " |\n";
    out_ << "\nTwo processes, on processors of their own, or as many as the case says. Every message is copied in and "
            "out, and "
            "checked: its\nlength, its two ends, its place in the order. A round is the bare machine, weir, the peer, "
            "between two readings of the bare\nping-pong of a cache line, which tell whether the processors were near "
            "or far from each other; a round whose readings disagree by\nmore than a quarter is repeated, and stands "
            "under \"moved\" where they never agreed. Figures are medians of rounds. A ratio is the\nmedian of those "
            "within one round, least and most in brackets: above 1 weir is ahead. \"Asleep\" and peers without "
            "\"polled\" sleep\nin the kernel while nothing is there; the others look again and again.\n\n";
}

void Report::failures()
{
    if (recorded_.failures.empty())
        return;
    out_ << "## Not measured\n\n" << heading({"peer", "where", "why"});
    for (const auto &failure : recorded_.failures)
        out_ << line({failure.peer, failure.where, failure.reason});
    out_ << "\n";
}

void Report::latency_table(const Comparison &comparison, const std::string &name, const std::string &place)
{
    Rows rows = select(recorded_, comparison.name, name, place);
    std::vector<std::string> subjects = subjects_of(rows), ours;
    for (const auto &subject : subjects)
        if (is_ours(subject))
            ours.push_back(subject);
    std::vector<std::string> cells = {name + ", " + place, "p50", "p99", "p99.9", "p99.99"};
    for (const auto &subject : ours)
        cells.push_back("p50 over " + subject);
    for (size_t i = 0; i < ours.size(); i++)
        cells.push_back("p99.9 over it");
    cells.push_back("rounds");
    out_ << heading(cells);
    for (const auto &subject : subjects) {
        Spread p50 = metric_of(rows, subject, "p50");
        cells = {subject == "limit" ? "bare line" : subject, duration(p50.median)};
        for (const char *metric : {"p99", "p99.9", "p99.99"})
            cells.push_back(duration(metric_of(rows, subject, metric).median));
        bool peer = subject != "limit" && !is_ours(subject);
        for (const char *metric : {"p50", "p99.9"})
            for (const auto &weir : ours) {
                Spread spread = peer ? ratio_of(rows, subject, weir, metric, false) : Spread{};
                cells.push_back(ratio(spread));
                note_ratio(comparison.name + ", " + name + ", " + metric, place, subject, weir, spread);
            }
        cells.push_back(std::to_string(p50.count));
        out_ << line(cells);
    }
    out_ << "\n";
}

void Report::rate_table(const Comparison &comparison, const Case &one, const std::string &place)
{
    Rows rows = select(recorded_, comparison.name, one.name, place);
    std::vector<std::string> subjects = subjects_of(rows), ours;
    for (const auto &subject : subjects)
        if (is_ours(subject))
            ours.push_back(subject);
    std::vector<std::string> cells = {one.name + ", " + place, "messages", "GB/s"};
    for (const auto &subject : ours)
        cells.push_back(subject + " over it");
    cells.push_back("rounds");
    out_ << heading(cells);
    for (const auto &subject : subjects) {
        Spread figure = metric_of(rows, subject, "rate");
        cells = {subject == "limit" ? "bare copy ring" : subject, rate(figure.median),
                 digits(figure.median * static_cast<double>(one.bytes) / 1e9)};
        bool peer = subject != "limit" && !is_ours(subject);
        for (const auto &weir : ours) {
            Spread spread = peer ? ratio_of(rows, subject, weir, "rate", true) : Spread{};
            cells.push_back(ratio(spread));
            note_ratio(comparison.name + ", " + one.name, place, subject, weir, spread);
        }
        cells.push_back(std::to_string(figure.count));
        out_ << line(cells);
    }
    out_ << "\n";
}

void Report::confirm_table(const Comparison &comparison, const std::string &name)
{
    Rows rows = select(recorded_, comparison.name, name, "*");
    bool one = name.find("one") != std::string::npos;
    out_ << heading({name, "messages", "p50", "p99", "p99.9", "weir", "weir's p50", "weir's p99", "rate: weir over it",
                     "p50: it over weir", "rounds"});
    for (const auto &peer : in_order(rows, [](const Row &row) { return row.peer; })) {
        Rows same;
        for (const auto *row : rows)
            if (row->peer == peer)
                same.push_back(row);
        Spread faster = ratio_of(same, peer, "weir", "rate", true), sooner = ratio_of(same, peer, "weir", "p50", false);
        out_ << line({peer, rate(metric_of(same, peer, "rate").median), duration(metric_of(same, peer, "p50").median),
                      duration(metric_of(same, peer, "p99").median), duration(metric_of(same, peer, "p99.9").median),
                      rate(metric_of(same, "weir", "rate").median), duration(metric_of(same, "weir", "p50").median),
                      duration(metric_of(same, "weir", "p99").median), ratio(faster), ratio(sooner),
                      std::to_string(faster.count)});
        note_ratio(comparison.name + ", " + name + (one ? ", p50" : ", rate"), "", peer, "weir", one ? sooner : faster);
    }
    out_ << "\n";
}

void Report::once_table(const Comparison &comparison, const std::string &name)
{
    Rows rows = select(recorded_, comparison.name, name, "*");
    auto all = [&](const std::vector<std::string> &titles,
                   const std::function<std::vector<std::string>(const std::string &)> &cells_of) {
        std::vector<std::string> cells = {name};
        cells.insert(cells.end(), titles.begin(), titles.end());
        out_ << heading(cells);
        for (const auto &subject : subjects_of(rows)) {
            cells = cells_of(subject);
            cells.insert(cells.begin(), subject);
            out_ << line(cells);
        }
        out_ << "\n";
    };
    auto figure = [&](const std::string &subject, const char *metric) {
        return metric_of(rows, subject, metric).median;
    };
    if (comparison.name == "cpu" && name == "idle")
        all({"% of a processor, both processes and the server"},
            [&](const std::string &subject) -> std::vector<std::string> {
                return {digits(figure(subject, "percent"))};
            });
    else if (comparison.name == "cpu")
        all({"seconds of processor a million messages"}, [&](const std::string &subject) -> std::vector<std::string> {
            return {digits(figure(subject, "us_a_message"))};
        });
    else if (comparison.name == "memory")
        all({"of its processes and its server", "in the kernel or on tmpfs", "in all"},
            [&](const std::string &subject) -> std::vector<std::string> {
                return {size(figure(subject, "process_bytes")), size(figure(subject, "outside_bytes")),
                        size(figure(subject, "bytes"))};
            });
    else if (comparison.name == "slow")
        all({"publisher late, p50", "p99", "most", "sent of what was due", "memory", "lost"},
            [&](const std::string &subject) -> std::vector<std::string> {
                return {duration(figure(subject, "p50")), duration(figure(subject, "p99")),
                        duration(figure(subject, "max")), number("%.1f %%", figure(subject, "sent") * 100),
                        size(figure(subject, "bytes")),   number("%.0f", figure(subject, "lost"))};
            });
    else
        all({"publisher killed: hung", "longest", "lost", "subscriber killed: hung", "longest", "lost",
             "server killed: hung", "longest"},
            [&](const std::string &subject) {
                std::vector<std::string> cells;
                for (const std::string who : {"publisher", "subscriber", "server"}) {
                    double runs = figure(subject, (who + "_runs").c_str());
                    double hung = figure(subject, (who + "_hung").c_str());
                    cells.push_back(runs > 0 ? number("%.0f", hung) + " of " + number("%.0f", runs) : "no server");
                    cells.push_back(runs > hung ? number("%.1f ms", figure(subject, (who + "_ms").c_str())) : "");
                    if (who != "server")
                        cells.push_back(runs > hung ? number("%.0f", figure(subject, (who + "_lost").c_str())) : "");
                }
                return cells;
            });
}

static const std::map<std::string, std::string> &explanations()
{
    static const std::map<std::string, std::string> texts = {
        {"openloop",
         "The publisher keeps to its rate, and a message that it could not send in time is late: nothing is "
         "omitted in concert."},
        {"throughput", "weir in a working set of 4 MiB, and so the bare copy ring; a peer with what it has by default, "
                       "or as its name says."},
        {"fan-in", "weir and its peers as by default; more processes than processors take turns."},
        {"fan-out", "Each subscriber gets every message; peers that lose none have a channel for each. The rate is "
                    "the publisher's."},
        {"cpu",
         "100 messages each millisecond, both sides asleep in between; user and system time of both processes and "
         "of the server."},
        {"memory", "What one channel more takes, with its two ends open and one message through it. weir's ring is one "
                   "of 4 MiB, as in most "
                   "of this report; it lies on tmpfs, wholly allocated. iceoryx's pools, some 200 MiB for all "
                   "channels, are not counted."},
        {"slow",
         "The consumer takes a tenth of the rate, and when that time is over all that is left. Memory: of both "
         "processes and the server, what they took meanwhile, and what the channel has in the kernel or on tmpfs. "
         "weir's ring has a journal."},
        {"recover",
         "Publisher or subscriber is killed in the middle of its work, and another one started in its place: how "
         "long until a message gets through again, after 3 s it counts as hung. Lost is what the dead publisher "
         "had sent, or the dead subscriber had not yet got. Descriptors are held open by a third process. Of "
         "servers: whether 1000 more messages get through after its death, while nobody starts it again."},
        {"confirm",
         "Messages published until each is confirmed, for a while, and afterwards read back and checked. weir "
         "beside each peer with the same policy: `sync = always` beside those that sync before they confirm; beside "
         "`everysec` and JetStream `sync = interval 1s` and a confirm when the kernel has it. Servers, weird too, on "
         "all processors but the publisher's; whoever is not being measured is stopped."}};
    return texts;
}

void Report::comparison(const Comparison &comparison)
{
    bool any = false;
    for (const auto &row : recorded_.rows)
        any |= row.comparison == comparison.name;
    if (!any)
        return;
    out_ << "## " << comparison.title << "\n\n";
    auto explained = explanations().find(comparison.name);
    if (explained != explanations().end())
        out_ << explained->second << "\n\n";
    for (const auto &one : comparison.cases) {
        if (comparison.kind == Kind::ONCE || comparison.kind == Kind::CONFIRM) {
            if (select(recorded_, comparison.name, one.name, "*").empty())
                continue;
            comparison.kind == Kind::ONCE ? once_table(comparison, one.name) : confirm_table(comparison, one.name);
            continue;
        }
        for (const char *place : {"near", "far", "moved"}) {
            if (select(recorded_, comparison.name, one.name, place).empty())
                continue;
            if (comparison.kind == Kind::LATENCY)
                latency_table(comparison, one.name, place);
            else
                rate_table(comparison, one, place);
        }
    }
    const std::map<std::string, const char *> drawn = {
        {"latency", "latency"}, {"throughput", "throughput"}, {"slow", "slow"}, {"confirm", "confirm"}};
    auto plot = drawn.find(comparison.name);
    if (plot != drawn.end())
        out_ << "![" << comparison.title << "](" << plots_ << "/" << plot->second << ".svg)\n\n";
}

// weir beside the bare machine, in the same rounds.
void Report::limits()
{
    struct Wanted {
        const char *comparison, *name, *metric;
        bool over; // weir's figure over the limit's is to be small
    };
    std::ostringstream table;
    for (const Wanted &wanted : std::initializer_list<Wanted>{{"latency", "64 B", "p50", true},
                                                              {"latency", "64 B", "p99.9", true},
                                                              {"latency", "1 KiB", "p50", true},
                                                              {"throughput", "64 B", "rate", false},
                                                              {"throughput", "1 KiB", "rate", false},
                                                              {"throughput", "4 KiB", "rate", false},
                                                              {"throughput", "64 KiB", "rate", false}})
        for (const char *place : {"near", "far"})
            for (const char *subject : {"weir exclusive", "weir shared"}) {
                std::vector<double> ratios;
                std::map<std::pair<std::string, int>, double> limit;
                Rows rows = select(recorded_, wanted.comparison, wanted.name, place);
                for (const auto *row : rows)
                    if (row->subject == "limit" && row->metrics.count(wanted.metric))
                        limit[{row->peer, row->round}] = row->metrics.at(wanted.metric);
                for (const auto *row : rows) {
                    auto found = limit.find({row->peer, row->round});
                    if (row->subject == subject && found != limit.end() && found->second > 0)
                        ratios.push_back(row->metrics.at(wanted.metric) / found->second);
                }
                Spread spread = spread_of(ratios);
                if (spread.count)
                    table << line({std::string(wanted.comparison) + ", " + wanted.name + ", " + wanted.metric, place,
                                   subject, ratio(spread), std::to_string(spread.count)});
            }
    if (!table.str().empty())
        out_ << "## weir over the bare machine\n\n"
             << heading({"", "", "", "weir over the limit", "rounds"}) << table.str() << "\n";
}

void Report::summary()
{
    out_ << "## Where weir is not ahead\n\n";
    if (ratios_ == 0) {
        out_ << "Nothing was paired.\n\n";
        return;
    }
    out_ << "Of " << ratios_ << " paired ratios, those whose median is below 1: " << behind_.size() << ".\n\n";
    if (behind_.empty())
        return;
    out_ << heading({"", "", "", "peer", "weir ahead by", "rounds"});
    for (const auto &each : behind_)
        out_ << each;
    out_ << "\n";
}

std::string Report::make()
{
    head();
    std::ostringstream first;
    first.swap(out_);
    for (const auto &each : all_comparisons())
        comparison(each);
    std::ostringstream tables;
    tables.swap(out_);
    failures();
    summary();
    limits();
    std::string all = first.str() + out_.str() + tables.str();
    while (all.size() > 1 && all[all.size() - 1] == '\n' && all[all.size() - 2] == '\n')
        all.pop_back();
    return all;
}

std::string make_report(std::istream &raw, const std::string &plots, const std::string &raw_name)
{
    Recorded recorded = read_lines(raw);
    return Report(recorded, plots, raw_name).make();
}

} // namespace peers
