// SPDX-License-Identifier: Apache-2.0
// An actor in a process of its own, killed by SIGKILL or stopped by SIGSTOP before a given store or swap.
#ifndef WEIR_TESTS_SUPPORT_RING_CHILD_H
#define WEIR_TESTS_SUPPORT_RING_CHILD_H

#include <sys/types.h>

#include <string>

#include "tests/support/ring_actor.h"

namespace ringtest
{

class Child
{
public:
    enum class End { running, finished, killed, stopped, broken };

    // The trial's ring must be in shared memory.
    Child(Trial &trial, uint32_t who, const Script &script);
    ~Child(); // kills it
    Child(const Child &) = delete;
    Child &operator=(const Child &) = delete;

    // Starts it; it is killed before its n-th store or swap.
    End run_and_kill(uint64_t n);
    // Starts it; it stops before its n-th store or swap.
    End run_and_stop(uint64_t n);
    // Lets it run on; end() says whether it is over.
    void go_on();
    End end();
    // Where it was killed or stopped.
    std::string where() const;

private:
    void start(uint64_t n, int signal);
    End wait(int flags);

    Trial &trial_;
    uint32_t who_;
    Script script_;
    pid_t pid_ = -1;
    struct mem_u64 *site_; // address of the site, the same in parent and child
};

} // namespace ringtest

#endif
