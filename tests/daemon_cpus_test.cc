/* SPDX-License-Identifier: Apache-2.0 */
/* Where the daemon's threads run, and where the memory of a ring lies that it brings back. */
// test: LINKS weird_core weir_client weir_journal weir_shm weir_ringbuf PROGRAMS weird_testing TIMEOUT 300

#include "tests/daemon_support.hh"

#include <algorithm>
#include <map>

#include <sched.h>

extern "C" {
#include "daemon/cpus.h"
#include "daemon/nodes.h"
}

namespace
{

class DaemonCpus : public DaemonTest
{
protected:
    /* "0,2-5" of each thread of that name. */
    static std::vector<std::string> allowed_of(pid_t pid, const std::string &name)
    {
        std::vector<std::string> all;
        const std::string tasks = "/proc/" + std::to_string(pid) + "/task";
        for (const auto &task : std::filesystem::directory_iterator(tasks)) {
            std::string line, comm;
            std::getline(std::ifstream(task.path() / "comm"), comm);
            std::ifstream status(task.path() / "status");
            while (comm == name && std::getline(status, line)) {
                if (line.rfind("Cpus_allowed_list:\t", 0) == 0)
                    all.push_back(line.substr(strlen("Cpus_allowed_list:\t")));
            }
        }
        return all;
    }
    static cpu_set_t allowed_here()
    {
        cpu_set_t cpus;
        EXPECT_EQ(sched_getaffinity(0, sizeof cpus, &cpus), 0);
        return cpus;
    }
    static bool same(const std::string &list, const cpu_set_t &cpus)
    {
        cpu_set_t listed;
        return cpus_parse(list.c_str(), &listed) == 0 && CPU_EQUAL(&listed, &cpus);
    }
    /* As if it had been created for this node. */
    void ask_for_node(const std::string &ring, uint16_t node)
    {
        const uint16_t word = (uint16_t)(node + 1);
        int fd = open((bus_ + "/" + ring + "/control").c_str(), O_RDWR | O_CLOEXEC);
        ASSERT_EQ(pwrite(fd, &word, sizeof word, offsetof(struct ring_control, numa_node)), 2);
        close(fd);
    }
    void publish_durably(const std::string &ring)
    {
        struct weir_pub *pub = publisher(ring.c_str());
        ASSERT_NE(pub, nullptr);
        EXPECT_EQ(wait_durable(pub, send(pub, "x")), 0) << weir_last_error();
        weir_pub_close(pub);
    }
    /* Runs it with these options until it ends by itself; what it said is in its log. */
    int refused(Weird &weird, const std::vector<std::string> &options)
    {
        weird.more_options = options;
        weird.launch();
        return weird.wait();
    }
    void restart_host(Weird &weird, const std::string &ring)
    {
        EXPECT_EQ(weird.stop(), 0) << weird.log();
        std::filesystem::remove_all(bus_ + "/" + ring);
        ASSERT_TRUE(weird.start()) << weird.log();
    }
    struct weir_ring_placement placement(const std::string &ring)
    {
        struct weir_ring_placement placement = {};
        placement.size = sizeof placement;
        EXPECT_EQ(weir_ring_locate(bus_.c_str(), ring.c_str(), &placement), 0) << weir_last_error();
        return placement;
    }
};

/* -- processors ----------------------------------------------------------------------------------------------------- */

TEST_F(DaemonCpus, ListsAreTakenAsTasksetTakesThem)
{
    const std::map<std::string, std::vector<int>> lists = {
        {"0", {0}}, {"3,1", {1, 3}}, {"0-2", {0, 1, 2}}, {"5-5,7,9-10", {5, 7, 9, 10}}, {"1023", {1023}}};
    for (const auto &[list, cpus] : lists) {
        cpu_set_t set;
        ASSERT_EQ(cpus_parse(list.c_str(), &set), 0) << list;
        EXPECT_EQ(CPU_COUNT(&set), (int)cpus.size()) << list;
        for (int cpu : cpus)
            EXPECT_TRUE(CPU_ISSET((size_t)cpu, &set)) << list << " has " << cpu;
    }
    for (const char *list : {"", ",", "0,", ",0", "a", "0-", "-1", "2-1", "0--2", "0 1", " 0", "1024", "+1",
                             "99999999999999999999", "0-1-2", "0x1", "0;1"}) {
        cpu_set_t set;
        EXPECT_EQ(cpus_parse(list, &set), -EINVAL) << list;
    }
}

TEST_F(DaemonCpus, DrainThreadsRunOnThoseThatTheyAreGivenAndDrain)
{
    cpu_set_t mine = allowed_here();
    int last = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        last = CPU_ISSET((size_t)cpu, &mine) ? cpu : last;
    Weird weird(bus_, journal_);
    weird.more_options = {"--threads", "3", "--cpus", std::to_string(last)};
    create("ring");
    ASSERT_TRUE(weird.start()) << weird.log();
    EXPECT_EQ(allowed_of(weird.pid(), "weird-drain"), std::vector<std::string>(3, std::to_string(last)));
    publish_durably("ring");
    EXPECT_EQ(weird.stop(), 0);
}

TEST_F(DaemonCpus, OneThatMayNotBeUsedIsAnErrorThatNamesIt)
{
    Weird weird(bus_, journal_);
    EXPECT_EQ(refused(weird, {"--cpus", "0,1023"}), 1);
    EXPECT_TRUE(weird.says("processor 1023 is not there")) << weird.log();
    EXPECT_EQ(refused(weird, {"--cpus", "some"}), 2);
    EXPECT_TRUE(weird.says("--cpus must be a list of processors")) << weird.log();
}

/* -- NUMA nodes ----------------------------------------------------------------------------------------------------- */

TEST_F(DaemonCpus, RingOnANodeIsDrainedByAThreadOnItAndOneNodeBindsNoThread)
{
    std::map<std::string, cpu_set_t> nodes; /* those with processors that may be used */
    for (const auto &entry : std::filesystem::directory_iterator("/sys/devices/system/node")) {
        std::string list;
        cpu_set_t mine = allowed_here(), cpus;
        std::getline(std::ifstream(entry.path() / "cpulist"), list);
        if (cpus_parse(list.c_str(), &cpus) < 0)
            continue;
        CPU_AND(&cpus, &cpus, &mine);
        if (CPU_COUNT(&cpus))
            nodes[entry.path().filename()] = cpus;
    }
    cpu_set_t mine = allowed_here();
    std::vector<int> node_of_cpu(CPU_SETSIZE);
    nodes_read(&mine, node_of_cpu.data());
    for (const auto &[name, cpus] : nodes) {
        for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
            if (CPU_ISSET(cpu, &cpus) && node_of_cpu[cpu] >= 0) {
                EXPECT_EQ("node" + std::to_string(node_of_cpu[cpu]), name);
            }
        }
    }
    struct weir_ring_options options = small_ring();
    options.numa_node = 0;
    int r = weir_ring_create(bus_.c_str(), "ring", &options);
    if (r == -EOPNOTSUPP || r == -EINVAL)
        GTEST_SKIP() << weir_last_error();
    ASSERT_EQ(r, 0) << weir_last_error();
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    publish_durably("ring");
    std::vector<std::string> threads = allowed_of(weird.pid(), "weird-drain");
    if (nodes.size() > 1) {
        EXPECT_EQ(threads.size(), nodes.size());
        for (const auto &[name, cpus] : nodes)
            EXPECT_TRUE(std::any_of(threads.begin(), threads.end(), [&cpus = cpus](const std::string &thread) {
                return same(thread, cpus);
            })) << name;
        EXPECT_EQ(weird.says("ring ring: drained by thread 0, of NUMA node 0\n"), nodes.count("node0")) << weird.log();
    } else {
        ASSERT_EQ(threads.size(), 1u);
        EXPECT_TRUE(same(threads[0], allowed_here())) << threads[0];
        EXPECT_FALSE(weird.says("NUMA")) << weird.log();
    }
    EXPECT_EQ(weird.stop(), 0);
}

/* The first processor is node 3, the others are node 7. */
int first_cpu;
int made_up_node(int cpu)
{
    return cpu == first_cpu ? 3 : 7;
}

TEST_F(DaemonCpus, OnAMachineOfTwoNodesEachHasAThreadForItsRings)
{
    cpu_set_t first, others = allowed_here();
    if (CPU_COUNT(&others) < 2)
        GTEST_SKIP() << "one processor cannot be two nodes";
    for (first_cpu = 0; !CPU_ISSET((size_t)first_cpu, &others);)
        first_cpu++;
    CPU_ZERO(&first);
    CPU_SET((size_t)first_cpu, &first);
    CPU_CLR((size_t)first_cpu, &others);
    for (const auto &[ring, node] : std::map<std::string, uint16_t>{{"three", 3}, {"seven", 7}, {"absent", 1000}}) {
        create(ring);
        ask_for_node(ring, node);
    }
    create("any");

    nodes_hook = made_up_node;
    testing::internal::CaptureStderr();
    {
        struct weird_options options = {};
        options.bus = bus_.c_str();
        options.journal = journal_.c_str();
        options.threads = 1;
        options.verbose = true;
        struct weird *weird = nullptr;
        struct shm_why why = {};
        EXPECT_EQ(weird_start(&options, &weird, &why), 0) << why.text;
        for (const char *ring : {"three", "seven", "absent", "any"})
            publish_durably(ring);
        std::vector<std::string> threads = allowed_of(getpid(), "weird-drain");
        EXPECT_EQ(threads.size(), 2u);
        for (const cpu_set_t &cpus : {first, others})
            EXPECT_EQ(std::count_if(threads.begin(), threads.end(),
                                    [&](const std::string &thread) { return same(thread, cpus); }),
                      1);
        weird_stop(weird);
    }
    nodes_hook = nullptr;
    std::string log = testing::internal::GetCapturedStderr();
    EXPECT_NE(log.find("drain thread 0 runs on NUMA node 3 alone\n"), std::string::npos) << log;
    EXPECT_NE(log.find("drain thread 1 runs on NUMA node 7 alone\n"), std::string::npos) << log;
    EXPECT_NE(log.find("ring three: drained by thread 0, of NUMA node 3\n"), std::string::npos) << log;
    EXPECT_NE(log.find("ring seven: drained by thread 1, of NUMA node 7\n"), std::string::npos) << log;
}

/* -- placement of rings that come back ------------------------------------------------------------------------------- */

TEST_F(DaemonCpus, RingComesBackOnTheNodeThatItWasMadeFor)
{
    struct weir_ring_options options = small_ring();
    options.numa_node = WEIR_NUMA_LOCAL;
    int r = weir_ring_create(bus_.c_str(), "ring", &options);
    if (r == -EOPNOTSUPP)
        GTEST_SKIP() << weir_last_error();
    ASSERT_EQ(r, 0) << weir_last_error();
    const int node = placement("ring").numa_node;
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    publish_durably("ring");
    restart_host(weird, "ring");
    struct weir_ring_placement now = placement("ring");
    EXPECT_EQ(now.numa_node, node);
    EXPECT_EQ(now.memory_node, node);
    EXPECT_EQ(now.node_bytes, now.memory_bytes);
    EXPECT_EQ(weird.times_said("ordinary memory"), 0u) << weird.log();
    EXPECT_EQ(weird.stop(), 0);
}

/* The host has lost a node, or its huge pages. */
TEST_F(DaemonCpus, RingWhosePlaceIsGoneComesBackOnOrdinaryMemoryAndItIsSaid)
{
    create("ring");
    ask_for_node("ring", 1000);
    const uint8_t transparent = RING_HUGE_TRANSPARENT;
    int fd = open((bus_ + "/ring/control").c_str(), O_RDWR | O_CLOEXEC);
    ASSERT_EQ(pwrite(fd, &transparent, sizeof transparent, offsetof(struct ring_control, huge)), 1);
    close(fd);
    Weird weird(bus_, journal_);
    ASSERT_TRUE(weird.start()) << weird.log();
    publish_durably("ring");
    restart_host(weird, "ring");
    EXPECT_EQ(weird.times_said("ring ring: it is back on ordinary memory: "), 1u) << weird.log();
    struct weir_ring_placement now = placement("ring");
    EXPECT_EQ(now.numa_node, 1000) << "what was asked for is remembered";
    EXPECT_EQ(now.huge, WEIR_HUGE_TRANSPARENT);
    EXPECT_NE(now.memory_node, 1000) << "and what is, is told";
    EXPECT_EQ(now.huge_bytes, 0u);
    EXPECT_EQ(weird.stop(), 0);
}

} // namespace
