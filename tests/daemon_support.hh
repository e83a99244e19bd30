/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of daemon/: a bus and a journal directory for each test, the daemon as a process or in this one, rings to
 * publish to, journals to read. Nothing sleeps and hopes: conditions are polled until a deadline.
 */
#ifndef WEIR_TESTS_DAEMON_SUPPORT_HH
#define WEIR_TESTS_DAEMON_SUPPORT_HH

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>
#include <weir.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
extern "C" {
#include "daemon/policy.h"
#include "daemon/weird.h"
#include "journal/io.h"
#include "journal/journal.h"
#include "ringbuf/ring.h"
#include "ringbuf/words.h"
#include "shm/shm.h"

extern void (*shm_point_hook)(const char *step); /* of the testing build */
}
#pragma GCC diagnostic pop

constexpr int deadline_ms = 20000;
constexpr unsigned test_limit_s = 250;

inline bool wait_until(const std::function<bool()> &condition, int limit_ms = deadline_ms)
{
    uint64_t end = shm_now_ns() + (uint64_t)limit_ms * 1000000u;
    while (!condition()) {
        if (shm_now_ns() > end)
            return condition();
        usleep(500);
    }
    return true;
}

inline std::string environment(const char *name)
{
    const char *value = getenv(name);
    if (!value) {
        fprintf(stderr, "%s is not set: run this with ctest\n", name);
        _exit(77);
    }
    return value;
}

/* The daemon as a process of its own. */
class Weird
{
public:
    Weird(std::string bus, std::string journal) : bus_(std::move(bus)), journal_(std::move(journal))
    {
    }
    Weird(const Weird &) = delete;
    Weird &operator=(const Weird &) = delete;
    ~Weird()
    {
        kill();
    }

    std::vector<std::string> more_options;
    bool bare = false; /* with these options alone */

    /* Without waiting. What it says goes to a file. notify: path of a service manager's socket. */
    void launch(const std::string &notify = "")
    {
        std::vector<std::string> words = {environment("WEIR_BIN") + "/weird_testing"};
        if (!bare)
            words.insert(words.end(), {"--bus", bus_, "--journal", journal_, "--verbose"});
        words.insert(words.end(), more_options.begin(), more_options.end());
        std::vector<char *> arguments;
        for (std::string &word : words)
            arguments.push_back(word.data());
        arguments.push_back(nullptr);
        pid_ = fork();
        if (pid_ == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            int fd = open(log_path().c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
            dup2(fd, STDERR_FILENO);
            if (notify.empty())
                unsetenv("NOTIFY_SOCKET");
            else
                setenv("NOTIFY_SOCKET", notify.c_str(), 1);
            execv(arguments[0], arguments.data());
            _exit(127);
        }
    }

    /* Until it says that it is ready. False: it died before. */
    bool start()
    {
        static int count;
        std::string name = "@weir-test-" + std::to_string(getpid()) + "-" + std::to_string(count++);
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct sockaddr_un address = {};
        address.sun_family = AF_UNIX;
        memcpy(address.sun_path, name.data(), name.size());
        address.sun_path[0] = 0;
        socklen_t bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + name.size());
        bool ready = bind(fd, (struct sockaddr *)&address, bytes) == 0;
        bool died = false;
        launch(name);
        for (struct pollfd polled = {fd, POLLIN, 0}; ready && !died && poll(&polled, 1, 20) != 1;)
            died = !runs();
        char word[64] = "";
        if (ready && !died)
            ready = recv(fd, word, sizeof word - 1, 0) > 0 && strcmp(word, "READY=1") == 0;
        close(fd);
        return ready && !died;
    }

    /* Exit code, or -signal. */
    int wait()
    {
        if (pid_ > 0) {
            waitpid(pid_, &status_, 0);
            pid_ = -1;
        }
        return WIFEXITED(status_) ? WEXITSTATUS(status_) : -WTERMSIG(status_);
    }
    int stop()
    {
        if (pid_ > 0)
            ::kill(pid_, SIGTERM);
        return wait();
    }
    void kill()
    {
        if (pid_ > 0)
            ::kill(pid_, SIGKILL);
        wait();
    }
    bool runs()
    {
        if (pid_ > 0 && waitpid(pid_, &status_, WNOHANG) == pid_)
            pid_ = -1;
        return pid_ > 0;
    }
    pid_t pid() const
    {
        return pid_;
    }
    std::string log_path() const
    {
        return journal_ + ".log";
    }
    std::string log() const
    {
        std::ifstream file(log_path());
        std::stringstream text;
        text << file.rdbuf();
        return text.str();
    }
    bool says(const std::string &words) const
    {
        return log().find(words) != std::string::npos;
    }
    size_t times_said(const std::string &words) const
    {
        std::string text = log();
        size_t count = 0;
        for (size_t at = text.find(words); at != std::string::npos; at = text.find(words, at + 1))
            count++;
        return count;
    }

private:
    std::string bus_, journal_;
    pid_t pid_ = -1;
    int status_ = 0;
};

struct Record {
    uint64_t position;
    std::string data;
};

inline std::string payload(const struct ring_item &item)
{
    struct ring_meta meta;
    uint32_t bytes = 0;
    if (ring_meta_get(item.body, item.body_bytes, item.flags, &meta, &bytes) < 0)
        return "bad properties";
    return std::string((const char *)item.body + bytes, item.body_bytes - bytes);
}

class DaemonTest : public testing::Test
{
protected:
    void SetUp() override
    {
        alarm(test_limit_s); /* whatever hangs ends here */
        const testing::TestInfo *test = testing::UnitTest::GetInstance()->current_test_info();
        std::string name = test->name();
        bus_ = environment("WEIR_BUS") + "/" + name;
        std::string disk = environment("WEIR_TEST_DIR") + "/" + name;
        std::filesystem::remove_all(bus_);
        std::filesystem::remove_all(disk);
        std::filesystem::create_directories(bus_);
        std::filesystem::create_directories(disk);
        std::filesystem::permissions(bus_, std::filesystem::perms::owner_all);
        journal_ = disk + "/journal";
        std::filesystem::create_directories(journal_);
    }
    void TearDown() override
    {
        alarm(0);
        std::filesystem::remove_all(bus_);
        if (!HasFailure())
            std::filesystem::remove_all(std::filesystem::path(journal_).parent_path());
    }

    static struct weir_ring_options small_ring()
    {
        struct weir_ring_options options = WEIR_RING_OPTIONS_INIT;
        options.segment_bytes = 16384;
        options.memory_limit_bytes = 16 * 16384;
        options.max_publishers = 4;
        options.max_readers = 4;
        return options;
    }
    void create(const std::string &ring, struct weir_ring_options options = small_ring())
    {
        ASSERT_EQ(weir_ring_create(bus_.c_str(), ring.c_str(), &options), 0) << weir_last_error();
    }
    struct weir_ring_info info(const std::string &ring)
    {
        struct weir_ring_info info = {};
        info.size = sizeof info;
        int r = weir_ring_inspect(bus_.c_str(), ring.c_str(), &info);
        if (r < 0)
            info.size = 0;
        return info;
    }
    /* RING_CONTROL_HEADER_BYTES of it, to be unmapped. */
    struct ring_control *map_control(const std::string &ring)
    {
        int fd = open((bus_ + "/" + ring + "/control").c_str(), O_RDWR | O_CLOEXEC);
        void *memory = mmap(nullptr, RING_CONTROL_HEADER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        EXPECT_NE(memory, MAP_FAILED);
        close(fd);
        return static_cast<struct ring_control *>(memory);
    }
    bool durable_reaches(const std::string &ring, uint64_t position)
    {
        return wait_until([&] {
            struct weir_ring_info now = info(ring);
            return now.size != 0 && now.durable >= position;
        });
    }

    struct weir_pub *publisher(const std::string &ring, const char *name = nullptr)
    {
        struct weir_pub_options options = WEIR_PUB_OPTIONS_INIT;
        options.name = name;
        struct weir_pub *pub = nullptr;
        EXPECT_EQ(weir_pub_open(bus_.c_str(), ring.c_str(), &options, &pub), 0) << weir_last_error();
        return pub;
    }
    /* Returns the record's position. */
    static uint64_t send(struct weir_pub *pub, const std::string &data)
    {
        uint64_t position = UINT64_MAX;
        EXPECT_EQ(weir_pub_send(pub, data.data(), data.size(), deadline_ms * INT64_C(1000000), &position), 0)
            << weir_last_error();
        return position;
    }
    static int wait_durable(struct weir_pub *pub, uint64_t position)
    {
        return weir_pub_wait(pub, position, WEIR_DURABLE, deadline_ms * INT64_C(1000000));
    }

    /* Everything in a ring's journal, from the first segment on, the ranges of the ledger left out. Where nothing limits
     * it, it ends at bytes that do not check. */
    std::vector<Record> journal(const std::string &ring, const uint8_t ring_id[16], uint64_t segment_bytes = 16384,
                                uint64_t limit = UINT64_MAX)
    {
        std::vector<Record> records;
        int fd = open((journal_ + "/" + ring).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        EXPECT_GE(fd, 0) << journal_ << "/" << ring;
        struct journal_reader *reader = nullptr;
        uint64_t segment = 0;
        struct journal_meta meta = {};
        bool rebuilt;
        int r = fd < 0 ? -1 : journal_look(fd, &meta, &rebuilt);
        EXPECT_EQ(r, 0);
        uint32_t shift = journal_shift(&meta);
        EXPECT_EQ(meta.geometry.segment_shift, (uint32_t)__builtin_ctzll(segment_bytes));
        r = r < 0 ? r : journal_reader_open(fd, ring_id, shift, &reader);
        EXPECT_EQ(r, 0);
        if (r == 0 && journal_oldest_segment(fd, 0, &segment) == 0) {
            uint64_t position = segment << shift;
            while ((r = journal_reader_seek(reader, position)) == 0) {
                struct ring_item item;
                while ((r = journal_reader_next(reader, limit, &item)) == 1)
                    records.push_back({item.position, payload(item)});
                struct journal_gap gap;
                position = journal_reader_position(reader);
                if (journal_find_gap(fd, position, &gap) < 0)
                    break;
                position = gap.to;
            }
            last_journal_error_ = r;
        }
        if (reader)
            journal_reader_close(reader);
        if (fd >= 0)
            close(fd);
        return records;
    }
    static std::vector<std::string> data_of(const std::vector<Record> &records)
    {
        std::vector<std::string> data;
        for (const Record &record : records)
            data.push_back(record.data);
        return data;
    }

    /* As a restart of the host does it. */
    void lose_memory()
    {
        std::filesystem::remove_all(bus_);
        std::filesystem::create_directories(bus_);
        std::filesystem::permissions(bus_, std::filesystem::perms::owner_all);
    }

    std::string bus_, journal_;
    int last_journal_error_ = 0;
};

/* The daemon in this process. */
class Embedded
{
public:
    Embedded(const std::string &bus, const std::string &journal, const struct policy_rules *policies = nullptr)
    {
        struct weird_options options = {};
        options.bus = bus.c_str();
        options.journal = journal.c_str();
        options.threads = 1;
        options.policies = policies;
        error = weird_start(&options, &weird, &why);
    }
    Embedded(const Embedded &) = delete;
    Embedded &operator=(const Embedded &) = delete;
    ~Embedded()
    {
        weird_stop(weird);
    }
    struct weird *weird = nullptr;
    struct shm_why why = {};
    int error = 0;
};

/* A child that does something and dies, or is killed, with the test at the latest. */
class Child
{
public:
    explicit Child(const std::function<void()> &body)
    {
        pid_ = fork();
        if (pid_ == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            body();
            _exit(0);
        }
    }
    Child(const Child &) = delete;
    Child &operator=(const Child &) = delete;
    ~Child()
    {
        kill();
    }
    void kill()
    {
        if (pid_ > 0)
            ::kill(pid_, SIGKILL);
        wait();
    }
    int wait()
    {
        if (pid_ > 0)
            waitpid(pid_, &status_, 0);
        pid_ = -1;
        return WIFEXITED(status_) ? WEXITSTATUS(status_) : -WTERMSIG(status_);
    }
    pid_t pid() const
    {
        return pid_;
    }

private:
    pid_t pid_ = -1;
    int status_ = 0;
};

/*
 * Tests that kill a process at its n-th step take every n; under thread sanitizer, for which one process is as good as the
 * next and which makes each one cost a tenth of a second, every seventh.
 */
#ifdef __SANITIZE_THREAD__
constexpr uint64_t step_stride = 7;
#else
constexpr uint64_t step_stride = 1;
#endif

/* For hooks that count steps: the one at which nothing is left is the last. */
inline struct mem_u64 steps_left;
inline void step()
{
    if (mem_add_(&steps_left, (uint64_t)-1) == 1)
        ::kill(getpid(), SIGKILL);
}

/* What only looks leaves nothing new to die with, and there is more of it with each segment. */
inline int64_t step_on_disk(void *, const struct jio_event *event)
{
    if (event->call != JIO_READ && event->call != JIO_STAT && event->call != JIO_LIST && event->call != JIO_CLOSE)
        step();
    return 0;
}

/* A page that children share with the test. */
struct Shared {
    struct mem_u64 words[64];
};
inline Shared *shared_page()
{
    void *memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return static_cast<Shared *>(memory);
}

#endif
