// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <map>
#include <sstream>

#include "bench/peers/recorded.hh"
#include "bench/peers/report.hh"
#include "bench/peers/table.hh"

namespace peers
{

class Plot
{
public:
    Plot(const std::string &file, const std::string &settings)
    {
        head_ << "set terminal svg size 960,600 background rgb 'white'\nset output '" << file
              << "'\nset grid\nset key outside right top\n"
              << settings << "\n";
    }
    void curve(const std::string &title, const std::vector<std::pair<double, double>> &points)
    {
        if (points.empty())
            return;
        data_ << "$c" << count_ << " << END\n";
        for (const auto &[x, y] : points)
            data_ << x << " " << y << "\n";
        data_ << "END\n";
        plot_ << (count_ ? ", " : "plot ") << "$c" << count_ << " using 1:2 with linespoints lw "
              << (is_ours(title) ? 3 : 1) << " pt 7 ps 0.3 title '" << title << "'";
        count_++;
    }
    bool draw() const
    {
        if (count_ == 0)
            return true;
        FILE *gnuplot = popen("gnuplot 2>/dev/null", "w");
        if (!gnuplot)
            return false;
        std::string all = head_.str() + data_.str() + plot_.str() + "\n";
        fwrite(all.data(), 1, all.size(), gnuplot);
        return pclose(gnuplot) == 0;
    }

private:
    std::ostringstream head_, data_, plot_;
    int count_ = 0;
};

static std::string fuller_place(const Recorded &recorded, const std::string &comparison, const std::string &name)
{
    size_t near = select(recorded, comparison, name, "near").size();
    return near >= select(recorded, comparison, name, "far").size() ? "near" : "far";
}

static bool draw_percentiles(const Recorded &recorded, const std::string &comparison, const std::string &name,
                             const std::string &place, const std::string &file, const std::string &title)
{
    Plot plot(file, "set title '" + title +
                        "'\nset logscale xy\nset xlabel 'percentile'\nset ylabel 'ns'\n"
                        "set xtics ('50' 2, '90' 10, '99' 100, '99.9' 1000, '99.99' 10000)");
    Rows rows = select(recorded, comparison, name, place);
    for (const auto &subject : subjects_of(rows)) {
        std::vector<std::pair<double, double>> points;
        for (const char *metric : {"p25", "p50", "p75", "p90", "p95", "p99", "p99.5", "p99.9", "p99.95", "p99.99"}) {
            Spread spread = metric_of(rows, subject, metric);
            if (spread.count)
                points.emplace_back(100 / (100 - std::stod(metric + 1)), spread.median);
        }
        plot.curve(subject, points);
    }
    return plot.draw();
}

static bool draw_throughput(const Recorded &recorded, const std::string &file)
{
    std::string place = fuller_place(recorded, "throughput", "64 B");
    Plot plot(file, "set title 'one way, " + place +
                        "'\nset logscale xy\nset xlabel 'bytes a message'\nset ylabel 'messages a second'\n"
                        "set xtics (64, 1024, 4096, 65536)");
    std::map<std::string, std::vector<std::pair<double, double>>> curves;
    std::vector<std::string> order;
    for (const auto &comparison : all_comparisons())
        for (const auto &one : comparison.cases) {
            Rows rows = comparison.name == "throughput" ? select(recorded, "throughput", one.name, place) : Rows();
            for (const auto &subject : subjects_of(rows)) {
                if (!curves.count(subject))
                    order.push_back(subject);
                curves[subject].emplace_back(static_cast<double>(one.bytes), metric_of(rows, subject, "rate").median);
            }
        }
    for (const auto &subject : order)
        plot.curve(subject, curves[subject]);
    return plot.draw();
}

static bool draw_slow(const Recorded &recorded, const std::string &file)
{
    Plot plot(file, "set title 'a consumer that is ten times too slow: how late the publisher is'\nset logscale y\n"
                    "set xlabel 'seconds'\nset ylabel 'us, the most in each tenth of a second'");
    for (const auto &row : recorded.rows) {
        if (row.comparison != "slow" || !row.series.count("late_us"))
            continue;
        std::vector<std::pair<double, double>> points;
        const auto &late = row.series.at("late_us");
        for (size_t i = 0; i < late.size(); i++)
            if (late[i] > 0)
                points.emplace_back(static_cast<double>(i + 1) / 10, late[i]);
        plot.curve(row.subject, points);
    }
    return plot.draw();
}

// weir stands beside each peer there, under the peer's sync policy: drawn once for each.
static bool draw_confirm(const Recorded &recorded, const std::string &file)
{
    Recorded named = recorded;
    for (auto &row : named.rows)
        if (row.comparison == "confirm" && row.subject == "weir")
            row.subject = "weir beside " + row.peer;
    for (auto &row : named.rows)
        if (row.comparison == "confirm")
            row.place = "disk";
    return draw_percentiles(named, "confirm", "1 KiB, one outstanding", "disk", file,
                            "from publish to confirm, 1 KiB, one outstanding");
}

bool draw_plots(std::istream &raw, const std::string &folder)
{
    Recorded recorded = read_lines(raw);
    std::string place = fuller_place(recorded, "latency", "64 B");
    return draw_percentiles(recorded, "latency", "64 B", place, folder + "/latency.svg",
                            "round trip, 64 B, " + place) &&
           draw_throughput(recorded, folder + "/throughput.svg") && draw_slow(recorded, folder + "/slow.svg") &&
           draw_confirm(recorded, folder + "/confirm.svg");
}

} // namespace peers
