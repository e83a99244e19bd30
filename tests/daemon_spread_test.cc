/* SPDX-License-Identifier: Apache-2.0 */
/* Drain threads on the NUMA nodes of made-up machines, and the rings that they get. */
// test: LINKS weird_core

#include <map>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

extern "C" {
#include "daemon/cpus.h"
#include "daemon/spread.h"
}

namespace
{

/* Of each node the list of its processors; those of none are in none. */
using Machine = std::map<int, std::string>;

const Machine one = {{0, "0-7"}};
const Machine two = {{0, "0-3"}, {1, "4-7"}};
const Machine four = {{0, "0,1,8,9"}, {1, "2,3,10,11"}, {2, "4,5,12,13"}, {3, "6,7,14,15"}};

cpu_set_t cpus(const std::string &list)
{
    cpu_set_t set;
    EXPECT_EQ(cpus_parse(list.c_str(), &set), 0) << list;
    return set;
}

struct spread make(const Machine &machine, uint32_t threads, const std::string &may_use = "0-1023")
{
    std::vector<int> node_of_cpu(CPU_SETSIZE, -1);
    for (const auto &[node, list] : machine) {
        cpu_set_t set = cpus(list);
        for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            if (CPU_ISSET(cpu, &set))
                node_of_cpu[cpu] = node;
        }
    }
    cpu_set_t may = cpus(may_use);
    struct spread spread;
    spread_make(&spread, threads, &may, node_of_cpu.data());
    return spread;
}

/* "node: processors" of a thread, -1: of no node. */
void expect_thread(const struct spread &spread, uint32_t thread, int node, const std::string &list = "")
{
    const struct spread_node *of = spread_of_thread(&spread, thread);
    ASSERT_EQ(of != nullptr, node >= 0) << "thread " << thread;
    if (!of)
        return;
    cpu_set_t expected = cpus(list);
    EXPECT_EQ(of->node, (uint32_t)node) << "thread " << thread;
    EXPECT_TRUE(CPU_EQUAL(&of->cpus, &expected)) << "thread " << thread;
}

/* The threads that rings of this node get, whatever their hash. */
std::set<uint32_t> threads_for(const struct spread &spread, int node)
{
    std::set<uint32_t> threads;
    for (uint64_t hash = 0; hash < 1000; hash++)
        threads.insert(spread_thread(&spread, (uint32_t)(node + 1), hash * 0x9e3779b97f4a7c15u));
    return threads;
}

using Threads = std::set<uint32_t>;
constexpr int nowhere = -1; /* the ring has no node */

TEST(DaemonSpread, MachineOfOneNodeIsAsOneWithoutNodes)
{
    for (const Machine &machine : {one, Machine{}}) {
        for (uint32_t threads : {1u, 3u, SPREAD_THREADS_MAX}) {
            struct spread spread = make(machine, threads);
            EXPECT_EQ(spread.thread_count, threads);
            for (uint32_t i = 0; i < threads; i++)
                expect_thread(spread, i, -1);
            for (uint64_t hash : {uint64_t(0), uint64_t(4711), UINT64_MAX}) {
                EXPECT_EQ(spread_thread(&spread, 0, hash), hash % threads);
                EXPECT_EQ(spread_thread(&spread, 1, hash), hash % threads) << "of node 0";
                EXPECT_EQ(spread_thread(&spread, 1001, hash), hash % threads) << "of a node that is not there";
            }
        }
    }
}

TEST(DaemonSpread, EachNodeHasAThreadThatTakesItsRings)
{
    struct spread spread = make(two, 1);
    EXPECT_EQ(spread.thread_count, 2u);
    expect_thread(spread, 0, 0, "0-3");
    expect_thread(spread, 1, 1, "4-7");
    EXPECT_EQ(threads_for(spread, 0), Threads{0});
    EXPECT_EQ(threads_for(spread, 1), Threads{1});
    EXPECT_EQ(threads_for(spread, nowhere), (Threads{0, 1}));
    EXPECT_EQ(threads_for(spread, 2), (Threads{0, 1})) << "a node that is not there";

    spread = make(four, 4);
    EXPECT_EQ(spread.thread_count, 4u);
    for (const auto &[node, list] : four) {
        expect_thread(spread, (uint32_t)node, node, list);
        EXPECT_EQ(threads_for(spread, node), Threads{(uint32_t)node});
    }
}

TEST(DaemonSpread, MoreThreadsThanNodesGoRoundAndShareTheRingsOfTheirNode)
{
    struct spread spread = make(four, 6);
    EXPECT_EQ(spread.thread_count, 6u);
    expect_thread(spread, 4, 0, four.at(0));
    expect_thread(spread, 5, 1, four.at(1));
    EXPECT_EQ(threads_for(spread, 0), (Threads{0, 4}));
    EXPECT_EQ(threads_for(spread, 1), (Threads{1, 5}));
    EXPECT_EQ(threads_for(spread, 2), Threads{2});
    EXPECT_EQ(threads_for(spread, 3), Threads{3});
    EXPECT_EQ(threads_for(spread, nowhere), (Threads{0, 1, 2, 3, 4, 5}));
}

TEST(DaemonSpread, NodeWithoutProcessorsHasNoThread)
{
    struct spread spread = make({{0, "0-3"}, {2, "4-7"}}, 1); /* node 1 is memory alone */
    EXPECT_EQ(spread.thread_count, 2u);
    expect_thread(spread, 0, 0, "0-3");
    expect_thread(spread, 1, 2, "4-7");
    EXPECT_EQ(threads_for(spread, 1), (Threads{0, 1})) << "by hash";
    EXPECT_EQ(threads_for(spread, 2), Threads{1});
}

TEST(DaemonSpread, ProcessorsThatMayNotBeUsedAreNotAndTheirNodesHaveNoThread)
{
    struct spread spread = make(four, 3, "2,4-5,11");
    EXPECT_EQ(spread.thread_count, 3u);
    expect_thread(spread, 0, 1, "2,11");
    expect_thread(spread, 1, 2, "4,5");
    expect_thread(spread, 2, 1, "2,11");
    EXPECT_EQ(threads_for(spread, 0), (Threads{0, 1, 2})) << "by hash";
    EXPECT_EQ(threads_for(spread, 1), (Threads{0, 2}));
    EXPECT_EQ(threads_for(spread, 2), Threads{1});

    spread = make(four, 2, "6,15"); /* of one node: there is nothing to choose from */
    EXPECT_EQ(spread.thread_count, 2u);
    expect_thread(spread, 0, -1);
    EXPECT_EQ(threads_for(spread, 3), (Threads{0, 1}));
    EXPECT_EQ(threads_for(spread, 0), (Threads{0, 1}));
}

TEST(DaemonSpread, MoreNodesThanThereMayBeThreadsLeaveSomeWithoutOne)
{
    Machine wide;
    for (int node = 0; node < 100; node++)
        wide[node] = std::to_string(node);
    struct spread spread = make(wide, 1);
    EXPECT_EQ(spread.thread_count, SPREAD_THREADS_MAX);
    for (uint32_t i = 0; i < SPREAD_THREADS_MAX; i++) {
        expect_thread(spread, i, (int)i, std::to_string(i));
        EXPECT_EQ(threads_for(spread, (int)i), Threads{i});
    }
    for (uint32_t thread : threads_for(spread, 99))
        EXPECT_LT(thread, SPREAD_THREADS_MAX);
}

} // namespace
