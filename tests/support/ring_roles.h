// SPDX-License-Identifier: Apache-2.0
// The roles that are killed and stopped: what each does, and what it finds.
#ifndef WEIR_TESTS_SUPPORT_RING_ROLES_H
#define WEIR_TESTS_SUPPORT_RING_ROLES_H

#include <vector>

#include "tests/support/ring_crash.h"

namespace ringtest
{

constexpr uint32_t kRole = 1;   // the actor under test
constexpr uint32_t kSecond = 2; // another one beside it
constexpr uint32_t kVictim = 3; // one that died before; more of them behind it

struct Role {
    const char *name;
    uint32_t flags;
    uint32_t when_full;
    std::function<void(Trial &)> before; // what it finds; victims left behind are dead when the script runs
    Script script;
    bool alone = false; // holds the only entry: while it is stopped nobody else can publish
};

const std::vector<Role> &roles();

Shape role_shape(const Role &role);
// Uses each slot once, so that what the role needs must be reclaimed, and does what stands in `before`.
void role_prepare(Trial &trial, const Role &role);

// An actor that dies before its n-th point of the script, or at its end, still attached.
void victim(Trial &trial, uint32_t who, uint64_t n, const Script &script);

// Scripts.
void publish_all_kinds(Actor &actor);
void publish_and_roll(Actor &actor);
void publish_named(Actor &actor);
void claim_and_hold(Actor &actor);
void join_and_sweep(Actor &actor);
void take_the_name(Actor &actor);
void read_all(Actor &actor);

} // namespace ringtest

#endif
