/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of client/: a bus of their own, rings with few and small segments, handles that close themselves. */
#ifndef WEIR_TESTS_SUPPORT_CLIENT_SUPPORT_HH
#define WEIR_TESTS_SUPPORT_CLIENT_SUPPORT_HH

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/support/client_process.hh"

#include "weir.h"

using RingInfo = struct weir_ring_info; /* a function has the same name */

constexpr uid_t nobody = 65534;
constexpr int64_t ms = 1000000;
constexpr int64_t s = 1000 * ms;

inline bool is_root()
{
    return geteuid() == 0;
}

/* Within a child: another user from now on, who still dies with the test. */
inline bool become(uid_t uid, gid_t gid)
{
    pid_t parent = getppid();
    if (setgroups(0, nullptr) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
        return false;
    Child::die_with(parent);
    return true;
}

/* A ring of 4 KiB segments for one publisher and two readers unless changed. */
struct RingOptions : weir_ring_options {
    RingOptions() : weir_ring_options(WEIR_RING_OPTIONS_INIT)
    {
        journaled = 0;
        segment_bytes = 4096;
        memory_limit_bytes = 4 * segment_bytes;
        max_readers = 2;
        max_publishers = 1;
    }
    RingOptions &with_exclusive(int value = 1)
    {
        exclusive = value;
        if (exclusive)
            max_publishers = 0;
        return *this;
    }
    RingOptions &with_journal(int value = 1)
    {
        journaled = value;
        return *this;
    }
    RingOptions &with_policy(int value)
    {
        when_full = value;
        return *this;
    }
    RingOptions &with_segments(uint64_t bytes, uint64_t count)
    {
        segment_bytes = bytes;
        memory_limit_bytes = bytes * count;
        return *this;
    }
    RingOptions &with_users(uint32_t publishers, uint32_t readers)
    {
        max_publishers = exclusive ? 0 : publishers;
        max_readers = readers;
        return *this;
    }
    RingOptions &with_mode(uint32_t value)
    {
        mode = value;
        return *this;
    }
    RingOptions &with_first(uint64_t position)
    {
        first_position = position;
        return *this;
    }
};

inline bool told(std::string_view part)
{
    return std::string_view(weir_last_error()).find(part) != std::string_view::npos;
}

/* Bytes of a message that was read, as text. */
inline std::string text_of(const weir_message &message)
{
    return std::string(static_cast<const char *>(message.data), message.data_bytes);
}

inline weir_message message_of(std::string_view data, uint16_t tag = 0)
{
    weir_message message = {};
    message.data = data.data();
    message.data_bytes = data.size();
    message.tag = tag;
    return message;
}

inline weir_message sequenced(std::string_view data, uint64_t sequence)
{
    weir_message message = message_of(data);
    message.has = WEIR_HAS_SEQUENCE;
    message.sequence = sequence;
    return message;
}

class Pub
{
public:
    Pub(const std::string &bus, const char *ring, const char *name = nullptr)
    {
        weir_pub_options options = WEIR_PUB_OPTIONS_INIT;
        options.name = name;
        error = weir_pub_open(bus.c_str(), ring, &options, &handle_);
    }
    Pub(const Pub &) = delete;
    Pub &operator=(const Pub &) = delete;
    ~Pub()
    {
        close();
    }
    void close()
    {
        weir_pub_close(handle_);
        handle_ = nullptr;
    }
    operator weir_pub *() const
    {
        return handle_;
    }
    int send(std::string_view data, int64_t timeout_ns = 0, uint64_t *ret_position = nullptr) const
    {
        return weir_pub_send(handle_, data.data(), data.size(), timeout_ns, ret_position);
    }
    uint64_t last_sequence() const
    {
        uint64_t sequence = UINT64_MAX;
        EXPECT_EQ(weir_pub_last_sequence(handle_, &sequence), 0) << weir_last_error();
        return sequence;
    }

    int error;

private:
    weir_pub *handle_ = nullptr;
};

struct SubOptions : weir_sub_options {
    SubOptions() : weir_sub_options(WEIR_SUB_OPTIONS_INIT)
    {
        spin_ns = 0;
    }
    SubOptions &with_from(uint64_t position)
    {
        from = position;
        return *this;
    }
    SubOptions &with_cursor(const char *name)
    {
        cursor = name;
        return *this;
    }
    SubOptions &with_gate()
    {
        gating = 1;
        return *this;
    }
    SubOptions &with_spin(int64_t ns)
    {
        spin_ns = ns;
        return *this;
    }
};

class Sub
{
public:
    Sub(const std::string &bus, const char *ring, const weir_sub_options &options = SubOptions())
    {
        error = weir_sub_open(bus.c_str(), ring, &options, &handle_);
    }
    Sub(const Sub &) = delete;
    Sub &operator=(const Sub &) = delete;
    ~Sub()
    {
        close();
    }
    void close()
    {
        weir_sub_close(handle_);
        handle_ = nullptr;
    }
    operator weir_sub *() const
    {
        return handle_;
    }
    int next(weir_message *ret_message, int64_t timeout_ns = 0) const
    {
        return weir_sub_next(handle_, timeout_ns, ret_message);
    }
    /* The next record's text, or the error in brackets, as in "[Resource temporarily unavailable]". */
    std::string text(int64_t timeout_ns = 0) const
    {
        weir_message message;
        int r = next(&message, timeout_ns);
        return r < 0 ? "[" + std::string(strerrorname_np(-r)) + "]" : text_of(message);
    }
    uint64_t position() const
    {
        return weir_sub_position(handle_);
    }
    weir_gap gap() const
    {
        weir_gap gap = {};
        EXPECT_EQ(weir_sub_gap(handle_, &gap), 0) << weir_last_error();
        return gap;
    }

    int error;

private:
    weir_sub *handle_ = nullptr;
};

/* A bus of its own below $WEIR_BUS, gone at the end of the test however it ends, the SIGKILL of the program aside. */
class ClientTest : public testing::Test
{
protected:
    void SetUp() override
    {
        const char *parent = getenv("WEIR_BUS");
        snprintf(scratch_, sizeof(scratch_), "%s/weir-client-test-XXXXXX", parent ? parent : "/dev/shm");
        ASSERT_NE(mkdtemp(scratch_), nullptr) << strerror(errno);
        ASSERT_EQ(chmod(scratch_, 0755), 0);
        bus_ = std::string(scratch_) + "/bus";
        ASSERT_EQ(mkdir(bus_.c_str(), 0755), 0);
        for (int number : ending_signals)
            if (!sanitized || (number != SIGSEGV && number != SIGBUS)) /* those are the sanitizers' to tell of */
                signal(number, clean_up);
        alarm(deadline_s);
    }
    void TearDown() override
    {
        alarm(0);
        for (int number : ending_signals)
            signal(number, SIG_DFL);
        remove_tree(AT_FDCWD, scratch_);
    }

    int create(const weir_ring_options &options = RingOptions(), const char *name = "ring") const
    {
        return weir_ring_create(bus_.c_str(), name, &options);
    }
    RingInfo info(const char *name = "ring") const
    {
        RingInfo info = {};
        info.size = sizeof(info);
        EXPECT_EQ(weir_ring_inspect(bus_.c_str(), name, &info), 0) << weir_last_error();
        return info;
    }
    std::vector<std::string> list() const
    {
        std::vector<std::string> names;
        EXPECT_EQ(weir_ring_list(
                      bus_.c_str(),
                      [](void *ctx, const char *name) {
                          static_cast<std::vector<std::string> *>(ctx)->push_back(name);
                          return 0;
                      },
                      &names),
                  0)
            << weir_last_error();
        return names;
    }
    std::vector<weir_participant> participants(const char *name = "ring") const
    {
        std::vector<weir_participant> all;
        EXPECT_EQ(weir_ring_participants(
                      bus_.c_str(), name,
                      [](void *ctx, const weir_participant *participant) {
                          static_cast<std::vector<weir_participant> *>(ctx)->push_back(*participant);
                          return 0;
                      },
                      &all),
                  0)
            << weir_last_error();
        return all;
    }
    weir_participant participant_of(pid_t pid, const char *name = "ring") const
    {
        for (const weir_participant &participant : participants(name))
            if (participant.pid == (uint64_t)pid)
                return participant;
        ADD_FAILURE() << "nobody with the process id " << pid;
        return {};
    }
    /* "FILE at OFFSET: WHAT" for each fault. */
    std::vector<std::string> faults(const char *name = "ring") const
    {
        std::vector<std::string> all;
        int count = weir_ring_check(
            bus_.c_str(), name,
            [](void *ctx, const char *file, uint64_t offset, const char *what) {
                static_cast<std::vector<std::string> *>(ctx)->push_back(std::string(file) + " at " +
                                                                        std::to_string(offset) + ": " + what);
            },
            &all);
        EXPECT_EQ(count, (int)all.size()) << weir_last_error();
        return all;
    }
    std::string path(const std::string &name) const
    {
        return bus_ + "/" + name;
    }

    std::string bus_;

    static void remove_tree(int dir_fd, const std::string &name)
    {
        if (unlinkat(dir_fd, name.c_str(), 0) == 0 || errno == ENOENT)
            return;
        DIR *listing = fdopendir(openat(dir_fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        while (const struct dirent *entry = listing ? readdir(listing) : nullptr) {
            if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                remove_tree(dirfd(listing), entry->d_name);
        }
        if (listing)
            closedir(listing);
        EXPECT_EQ(unlinkat(dir_fd, name.c_str(), AT_REMOVEDIR), 0) << name << ": " << strerror(errno);
    }

private:
    static constexpr int ending_signals[] = {SIGALRM, SIGABRT, SIGTERM, SIGINT, SIGSEGV, SIGBUS};
    static inline char scratch_[256];

    /* This process is beyond help, but what it would leave behind is not. */
    static void clean_up(int number)
    {
        const char *why = number == SIGALRM ? "the test took longer than its deadline" : "the test program was ended";
        execl("/bin/sh", "sh", "-c", "echo \"$1\" >&2; rm -rf \"$2\"; exit 1", "sh", why, scratch_,
              static_cast<char *>(nullptr));
        _exit(1);
    }
};

#endif
