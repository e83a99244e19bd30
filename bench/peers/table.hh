// SPDX-License-Identifier: Apache-2.0
// Which peers there are, and what is compared.
#ifndef WEIR_BENCH_PEERS_TABLE_HH
#define WEIR_BENCH_PEERS_TABLE_HH

#include <cstddef>
#include <string>
#include <vector>

namespace peers
{

struct Peer {
    std::string name, program, variant, wait;
    std::vector<std::string> packages; // of Debian; the first one's version is told
    bool server = false, durable = false;
    std::string sync; // durable: the policy of weird that it is held against
    std::string what;
    bool polls() const
    {
        return wait == "poll";
    }
};

struct Case {
    std::string name;
    size_t bytes = 64, publishers = 1, subscribers = 1;
    double rate = 0, window = 0;
};

enum class Kind { LATENCY, RATE, ONCE, CONFIRM };

struct Comparison {
    std::string name, title;
    Kind kind;
    std::vector<Case> cases;
    unsigned rounds;
    double seconds; // of one measurement
    bool polling;   // peers that poll take part
    bool durable;
    double cost; // seconds of a round of a peer, about, with what it is paired with
};

const std::vector<Peer> &all_peers();
const std::vector<Comparison> &all_comparisons();
bool takes_part(const Peer &peer, const Comparison &comparison);

// What is measured in a round beside a peer: weir's kinds, the bare machine first.
struct Subject {
    std::string name, variant, wait;
};
std::vector<Subject> weir_subjects(const Peer &peer, const Comparison &comparison);

} // namespace peers

#endif
