// SPDX-License-Identifier: Apache-2.0
// The parts that are killed and stopped: what each does, and what it finds.
#ifndef WEIR_TESTS_SUPPORT_RING_ROLES_H
#define WEIR_TESTS_SUPPORT_RING_ROLES_H

#include <vector>

#include "tests/support/ring_actor.h"

namespace ringtest
{

constexpr uint32_t kRole = 1;       // the actor under test
constexpr uint32_t kSecond = 2;     // another one beside it
constexpr uint32_t kVictim = 3;     // one that died before; more of them behind it
constexpr uint32_t kCompanion = 12; // one that stands still beside it

struct Role {
    std::string name;
    uint32_t flags;
    Script script;
    std::function<void(Trial &)> before = nullptr; // what it finds
    uint32_t when_full = RING_BLOCK;
};

struct Pair {
    std::string name;
    uint32_t flags;
    Script first;
    Script second;
    std::function<void(Trial &)> before = nullptr;
    uint32_t when_full = RING_BLOCK;
};

const std::vector<Role> &roles();
const std::vector<Pair> &pairs();

Shape trial_shape(uint32_t flags, uint32_t when_full, bool shared);
// Uses each slot once, so that what the role needs must be reclaimed, and does what stands in `before`.
void trial_prepare(Trial &trial, const std::function<void(Trial &)> &before);

// An actor that dies before its n-th store of the script, or at its end, still attached.
void victim(Trial &trial, uint32_t who, uint64_t n, const Script &script);

// One that died, or stands still, before the nth store of a function; what it holds there.
struct Hold {
    std::string name;
    Script script;
    const char *function;
    uint32_t nth;
};
const std::vector<Hold> &holds();

// Scripts used by name.
struct ReaderKind {
    bool gate, cursor, in_place, read_only;
};
Script reader(const ReaderKind &kind);
void join_and_sweep(Actor &actor);
void publish_much(Actor &actor);
void publish_named(Actor &actor);
void be_weird(Actor &actor);
void take_the_name(Actor &actor);
void publish_and_roll(Actor &actor);

} // namespace ringtest

#endif
