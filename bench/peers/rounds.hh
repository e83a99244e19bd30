// SPDX-License-Identifier: Apache-2.0
// The rounds of a run: limit, weir, peer, limit, weir, peer, between two readings of the bare ping-pong.
#ifndef WEIR_BENCH_PEERS_ROUNDS_HH
#define WEIR_BENCH_PEERS_ROUNDS_HH

#include <functional>
#include <string>
#include <vector>

#include "bench/peers/table.hh"

namespace peers
{

struct RunOptions {
    std::vector<const Peer *> peers;
    std::vector<const Comparison *> comparisons;
    double scale = 1;        // of the number of rounds
    double slow_seconds = 0; // of the slow consumer, 0: as the table says
    bool quick = false;
    bool progress = false;
    std::vector<int> cpus;
    std::vector<std::pair<std::string, std::string>> missing; // peers that are not there, and why
    std::string programs;                                     // where peer-NAME are
    std::string weird;                                        // path of the daemon
    std::string directory;
};

unsigned rounds_of(const Comparison &comparison, const RunOptions &options);
double estimate_seconds(const RunOptions &options);
// Measures, and hands over one line of JSON after the other. 0, or 1 when something could not be measured.
int run_rounds(const RunOptions &options, const std::function<void(const std::string &)> &record);

} // namespace peers

#endif
