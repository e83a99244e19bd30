// SPDX-License-Identifier: Apache-2.0
// Which stores and swaps of the ring were come to, died at and stopped at, in this process and in its children.
#ifndef WEIR_TESTS_SUPPORT_RING_COVERAGE_H
#define WEIR_TESTS_SUPPORT_RING_COVERAGE_H

#include <cstddef>

extern "C" {
#include "ringbuf/access.h"
}

namespace ringtest
{

enum class Event { passed, killed, stopped };

// Memory that forked children share.
void *shared_memory(size_t bytes);

// To be called once before children are forked, so that they count in the same memory.
void coverage_begin();
void coverage_count(const struct mem_site *site, Event event);

// When all tests of the program have run: fails for each call site in ringbuf/ that did not see the event. A part of them
// (--gtest_filter) is not judged.
void every_call_site_must_be(Event event);

} // namespace ringtest

#endif
