// SPDX-License-Identifier: Apache-2.0
// The programs of peers: one run of one, and servers, which end with the harness.
#ifndef WEIR_BENCH_PEERS_PROGRAMS_HH
#define WEIR_BENCH_PEERS_PROGRAMS_HH

#include <string>
#include <sys/types.h>
#include <vector>

namespace peers
{

// Ctrl-C and the like were seen: end soon.
bool stopped();
void catch_stops();

struct Outcome {
    bool ok = false;
    std::string output; // standard output
    std::string reason; // of a failure: the first line of standard error
};
// Runs a program to its end, or kills it with all it started after so long.
Outcome run_program(const std::vector<std::string> &words, double seconds);

// A private folder on disk and one on tmpfs, a prefix for names elsewhere; all gone in the end.
class Site
{
public:
    explicit Site(const std::string &parent);
    ~Site();
    Site(const Site &) = delete;
    std::string directory, bus, name;
    void clean(const std::string &prefix) const; // what programs that were killed have left under such names
};

// A server is the child of this process, in a group of its own; none outlives it.
class Server
{
public:
    Server(const std::vector<std::string> &words, const std::vector<int> &cpus, const std::string &log);
    ~Server();
    Server(const Server &) = delete;
    void pause(bool paused) const; // while others are measured
    bool runs();
    pid_t pid() const
    {
        return pid_;
    }

private:
    pid_t pid_;
};

// Removes what a server of this program leaves when it ends badly, as iceoryx's does when a client has died. It has to
// be one that ran here: there can be but one of that kind on a host.
void remove_left_by(const std::string &program);
// Ends what servers have left in the background; no Server may be there.
void end_orphans();

} // namespace peers

#endif
