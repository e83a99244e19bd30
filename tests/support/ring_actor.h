// SPDX-License-Identifier: Apache-2.0
// Who plays a part in a trial.
#ifndef WEIR_TESTS_SUPPORT_RING_ACTOR_H
#define WEIR_TESTS_SUPPORT_RING_ACTOR_H

#include <memory>
#include <vector>

#include "tests/support/ring_trial.h"

namespace ringtest
{

// Everything it owns lives in the trial, so that it can be left where it stands. Each call returns false when the script
// should end: an error, put down in the log.
class Actor
{
public:
    Actor(Trial &trial, uint32_t who);

    bool join();
    bool join_daemon();
    bool take_name();                                     // kTrialName
    bool publish(uint32_t count = 1, uint32_t units = 0); // 0: sizes of all kinds
    bool publish_batch(uint32_t count);
    bool cancel(uint32_t units);
    bool claim(uint32_t units); // and leaves it open
    void leave();

    bool join_reader(bool gating = false);
    bool take_cursor(); // kTrialCursor
    // From trial.start_of_role on, to the end or out of memory. What is read must still be whole when the reader has gone
    // past it: its announcement keeps it. In place: up to three messages at a time are held like that.
    bool read(bool in_place = false);
    void leave_reader();

    bool failed(int error);
    // The last message was refused, and is not tried again.
    void give_up();

    Trial &trial;
    uint32_t who;
    ActorLog &log;
    View &view;
    struct ring_publisher_state publisher = {};
    struct ring_reader_state reader = {};
    // When there is no room, or the living hold what it wants: so often it lets others run and tries again; 0: an error.
    uint32_t patience = 0;

private:
    template <typename Attempt>
    int wait_while(int error, Attempt attempt);
    bool take_item(const struct ring_item &item, Seen *ret_seen);
    bool in_memory(uint64_t segment);
    bool all_in_memory();
    bool keep(const struct ring_item *items, const Seen *seen, uint32_t count);
    uint32_t put_body(uint8_t *body, uint64_t number, uint32_t units);

    uint64_t sequence_before_ = 0; // the name's, before this actor's first message
};

// Plays the script with all the patience it needs.
std::unique_ptr<Fiber> actor_fiber(Trial &trial, uint32_t who, const Script &script,
                                   Fiber::Points points = Fiber::Points::stores);
// Runs it until it is about to come to its n-th point from now on, or waits in vain for what others have.
void actor_run(Trial &trial, Fiber &fiber, uint64_t n);
// Lets them run to their ends, each as far as it comes before the next one is asked, while what they wait for is done.
bool actors_finish(Trial &trial, const std::vector<Fiber *> &fibers);

} // namespace ringtest

#endif
