/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of shm/: a bus of their own on tmpfs, and other processes that answer over a socket. No test sleeps and
 * hopes: it waits for an answer, and an alarm ends what hangs.
 */
#ifndef WEIR_TESTS_SHM_SUPPORT_HH
#define WEIR_TESTS_SHM_SUPPORT_HH

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

/* g++ says that the function shm_create() hides the constructor of struct shm_create. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
extern "C" {
#include "shm/internal.h"
#include "shm/shm.h"
}
#pragma GCC diagnostic pop

constexpr unsigned deadline_s = 30;
constexpr uid_t nobody = 65534;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true; /* memory of its own behind ours: page faults and address space are its */
#else
constexpr bool sanitized = false;
#endif

/* Work that is repeated for luck ends after this span, however little of it a busy machine got done. */
class Budget
{
public:
    bool left() const
    {
        return shm_now_ns() - start_ns_ < UINT64_C(5000000000);
    }

private:
    uint64_t start_ns_ = shm_now_ns();
};

/* What a child says to its parent, and hears. 0: the other end is gone. */
class Line
{
public:
    explicit Line(int fd) : fd_(fd)
    {
    }
    void say(char word) const
    {
        (void)!send(fd_, &word, 1, MSG_NOSIGNAL);
    }
    char hear() const
    {
        char word = 0;
        ssize_t got;
        do {
            got = recv(fd_, &word, 1, 0);
        } while (got < 0 && errno == EINTR);
        return got == 1 ? word : '\0';
    }
    bool has_news(int timeout_ms) const
    {
        struct pollfd poll_fd = {fd_, POLLIN, 0};
        return poll(&poll_fd, 1, timeout_ms) == 1;
    }
    void send_number(int64_t number) const
    {
        (void)!send(fd_, &number, sizeof(number), MSG_NOSIGNAL);
    }
    int64_t hear_number() const
    {
        int64_t number = -1;
        return recv(fd_, &number, sizeof(number), MSG_WAITALL) == (ssize_t)sizeof(number) ? number : -1;
    }

private:
    int fd_;
};

/* A forked process that runs a function and ends with its value; killed and reaped at the end of the scope. */
class Child
{
public:
    using Body = std::function<int(const Line &)>;

    explicit Child(const Body &body)
    {
        int fds[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
            abort();
        fflush(nullptr);
        pid_t parent = getpid();
        pid_ = fork();
        if (pid_ < 0)
            abort();
        if (pid_ == 0) {
            close(fds[0]);
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent)
                _exit(99);
            alarm(deadline_s);
            _exit(body(Line(fds[1])));
        }
        close(fds[1]);
        fd_ = fds[0];
    }
    Child(const Child &) = delete;
    Child &operator=(const Child &) = delete;
    ~Child()
    {
        kill(SIGKILL);
        (void)status();
        close(fd_);
    }

    pid_t pid() const
    {
        return pid_;
    }
    Line line() const
    {
        return Line(fd_);
    }
    void kill(int signal) const
    {
        if (!reaped_)
            ::kill(pid_, signal);
    }
    /* Waits for the end; of waitpid(). */
    int status()
    {
        if (!reaped_) {
            while (waitpid(pid_, &status_, 0) < 0 && errno == EINTR) {
            }
            reaped_ = true;
        }
        return status_;
    }
    /* Waits for the end: what the function returned, or -signal. */
    int result()
    {
        int now = status();
        return WIFEXITED(now) ? WEXITSTATUS(now) : -WTERMSIG(now);
    }
    void stop()
    {
        int now = 0;
        kill(SIGSTOP);
        while (waitpid(pid_, &now, WUNTRACED) < 0 && errno == EINTR) {
        }
        ASSERT_TRUE(WIFSTOPPED(now));
    }

private:
    pid_t pid_ = -1;
    int fd_ = -1;
    int status_ = 0;
    bool reaped_ = false;
};

/* Within a child: says what failed, and ends its function with 1. */
#define CHILD_CHECK(condition)                                                                                         \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: in a child: %s is not so (errno %d)\n", __FILE__, __LINE__, #condition, errno);    \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)

inline bool become(uid_t uid, gid_t gid)
{
    return setgroups(0, nullptr) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0;
}

inline bool is_root()
{
    return geteuid() == 0;
}

inline std::vector<std::string> names_in(int dir_fd)
{
    std::vector<std::string> names;
    DIR *listing = fdopendir(openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!listing)
        return {"?"};
    while (const struct dirent *entry = readdir(listing)) {
        std::string name = entry->d_name;
        if (name != "." && name != "..")
            names.push_back(name);
    }
    closedir(listing);
    std::sort(names.begin(), names.end());
    return names;
}

using Names = std::vector<std::string>;

/*
 * Open descriptors of this process that point to a path with this ending ("" for all). Allocates nothing: it is called in
 * the forked child of a process with threads.
 */
inline int open_descriptors(const char *ending = "")
{
    static const char deleted[] = " (deleted)";
    int count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        char link[32], target[512];
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        ssize_t got = readlink(link, target, sizeof(target));
        if (got < 0)
            continue;
        auto length = (size_t)got, tail = strlen(deleted), end = strlen(ending);
        if (length > tail && memcmp(target + length - tail, deleted, tail) == 0)
            length -= tail;
        count += length >= end && memcmp(target + length - end, ending, end) == 0;
    }
    return count;
}

/* Fills the holes between the open ones, so that a limit of this value and n more leaves exactly n. */
inline int first_descriptor_of_all_free()
{
    int last = 0, next = 0;
    for (int fd = 0; fd < 1024; fd++)
        last = fcntl(fd, F_GETFD) != -1 ? fd : last;
    do {
        next = open("/", O_PATH | O_CLOEXEC);
    } while (next >= 0 && next < last);
    close(next);
    return next;
}

/* A ring whose bytes all say who made it. */
struct Stamp {
    unsigned char value;
    std::function<void()> during; /* called when two of the three files are written */
};

inline void put_stamp(void *ctx, void *control, void *readers, void *data);

struct Request : shm_create {
    static constexpr uint64_t page = 4096;
    Stamp stamp;

    explicit Request(const char *ring_name = "ring", mode_t ring_mode = 0600, unsigned char value = 1)
        : shm_create(), stamp{value, nullptr}
    {
        name = ring_name;
        mode = ring_mode;
        sizes.control_bytes = 3 * page;
        sizes.readers_bytes = 2 * page;
        sizes.data_bytes = 16 * page;
        format = put_stamp;
        ctx = this;
    }
    Request(const Request &) = delete;
    Request &operator=(const Request &) = delete;
};

inline void put_stamp(void *ctx, void *control, void *readers, void *data)
{
    const auto *request = static_cast<const Request *>(ctx);
    memset(control, request->stamp.value, request->sizes.control_bytes);
    memset(readers, request->stamp.value, request->sizes.readers_bytes);
    if (request->stamp.during)
        request->stamp.during();
    memset(data, request->stamp.value, request->sizes.data_bytes);
}

inline bool all_bytes_are(const void *memory, uint64_t bytes, unsigned char value)
{
    const auto *at = static_cast<const unsigned char *>(memory);
    return std::all_of(at, at + bytes, [value](unsigned char byte) { return byte == value; });
}

/* An open ring, closed at the end of the scope. */
class Ring : public shm_ring
{
public:
    Ring() : shm_ring()
    {
    }
    Ring(int bus_fd, const char *name, shm_access access, bool repair = false) : shm_ring()
    {
        error = shm_open_ring(bus_fd, name, access, repair, this, &why);
    }
    Ring(const Ring &) = delete;
    Ring &operator=(const Ring &) = delete;
    ~Ring()
    {
        shm_close_ring(this);
    }
    bool whole(unsigned char value) const
    {
        return all_bytes_are(control, sizes.control_bytes, value) &&
               all_bytes_are(readers, sizes.readers_bytes, value) && all_bytes_are(data, sizes.data_bytes, value);
    }

    int error = 0;
    struct shm_why why = {};
};

class ShmTest : public testing::Test
{
protected:
    void SetUp() override
    {
        const char *parent = getenv("WEIR_BUS");
        snprintf(scratch_, sizeof(scratch_), "%s/weir-shm-test-XXXXXX", parent ? parent : "/dev/shm");
        ASSERT_NE(mkdtemp(scratch_), nullptr) << strerror(errno);
        ASSERT_EQ(chmod(scratch_, 0755), 0);
        scratch_fd_ = open(scratch_, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ASSERT_EQ(mkdirat(scratch_fd_, "bus", 0755), 0);
        bus_fd_ = openat(scratch_fd_, "bus", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ASSERT_GE(bus_fd_, 0);
        prctl(PR_SET_CHILD_SUBREAPER, 1); /* a grandchild whose parent was killed is ours to reap */
        hire_undertaker();
        alarm(deadline_s);
    }
    void TearDown() override
    {
        alarm(0);
        shm_point_hook = nullptr;
        umask(022);
        if (bus_fd_ >= 0)
            close(bus_fd_);
        if (scratch_fd_ >= 0)
            close(scratch_fd_);
        remove_tree(AT_FDCWD, scratch_);
        kill(undertaker_, SIGKILL);
        waitpid(undertaker_, nullptr, 0);
    }

    std::string path(const std::string &name) const
    {
        return std::string(scratch_) + "/" + name;
    }
    int create(const char *name = "ring", mode_t mode = 0600, unsigned char value = 1)
    {
        Request request(name, mode, value);
        return create(request);
    }
    int create(const Request &request)
    {
        why_ = {};
        return shm_create(bus_fd_, &request, &why_);
    }
    bool says(const std::string &part) const
    {
        return std::string(why_.text).find(part) != std::string::npos;
    }
    struct stat stat_of(const std::string &name) const
    {
        struct stat status = {};
        EXPECT_EQ(fstatat(bus_fd_, name.c_str(), &status, AT_SYMLINK_NOFOLLOW), 0) << name;
        return status;
    }
    mode_t mode_of(const std::string &name) const
    {
        return stat_of(name).st_mode & 07777;
    }

    int scratch_fd_ = -1;
    int bus_fd_ = -1;
    struct shm_why why_ = {};

private:
    char scratch_[256] = "";
    pid_t undertaker_ = -1;

    /* A process that removes the scratch directory when this one dies: of the deadline, a crash, or a kill. */
    void hire_undertaker()
    {
        sigset_t end;
        sigemptyset(&end);
        sigaddset(&end, SIGUSR1);
        fflush(nullptr);
        pid_t parent = getpid();
        undertaker_ = fork();
        ASSERT_GE(undertaker_, 0);
        if (undertaker_ > 0)
            return;
        sigprocmask(SIG_BLOCK, &end, nullptr);
        prctl(PR_SET_PDEATHSIG, SIGUSR1);
        int signal = 0;
        if (getppid() == parent)
            sigwait(&end, &signal);
        execl("/bin/rm", "rm", "-rf", scratch_, static_cast<char *>(nullptr));
        _exit(1);
    }
    static void remove_tree(int dir_fd, const std::string &name)
    {
        if (unlinkat(dir_fd, name.c_str(), 0) == 0 || errno == ENOENT)
            return;
        int fd = openat(dir_fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0) {
            for (const std::string &entry : names_in(fd))
                remove_tree(fd, entry);
            close(fd);
        }
        EXPECT_EQ(unlinkat(dir_fd, name.c_str(), AT_REMOVEDIR), 0) << name << ": " << strerror(errno);
    }
};

#endif
