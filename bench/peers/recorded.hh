// SPDX-License-Identifier: Apache-2.0
// What a run has recorded, read back: rows of figures, and medians and paired ratios of them.
#ifndef WEIR_BENCH_PEERS_RECORDED_HH
#define WEIR_BENCH_PEERS_RECORDED_HH

#include <functional>
#include <istream>
#include <jansson.h>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace peers
{

// Median, least and most; of none: zeros.
struct Spread {
    double median = 0, least = 0, most = 0;
    size_t count = 0;
};
Spread spread_of(std::vector<double> values);

struct Row {
    std::string comparison, name, peer, subject, place;
    int round;
    std::map<std::string, double> metrics;
    std::map<std::string, std::vector<double>> series;
};

struct Failure {
    std::string peer, where, reason;
};

struct Recorded {
    std::vector<Row> rows;
    std::vector<Failure> failures;
    std::shared_ptr<json_t> run;
    size_t runs = 0;
};

// A member that is a text; "" where it is none.
std::string text(const json_t *object, const char *name);
// Throws on a line that is not known.
Recorded read_lines(std::istream &raw);

using Rows = std::vector<const Row *>;

// place "*": any.
Rows select(const Recorded &recorded, const std::string &comparison, const std::string &name, const std::string &place);
Spread metric_of(const Rows &rows, const std::string &subject, const std::string &metric);
// Of each round of the peer: its figure over the subject's in the same round, or the other way round.
Spread ratio_of(const Rows &rows, const std::string &peer, const std::string &subject, const std::string &metric,
                bool subject_over_peer);
std::vector<std::string> in_order(const Rows &rows, const std::function<std::string(const Row &)> &key);
// The bare machine first, then weir's.
std::vector<std::string> subjects_of(const Rows &rows);
bool is_ours(const std::string &subject);

} // namespace peers

#endif
