/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Other processes for the tests of client/: forked, heard over a socket, killed and reaped at the end of their scope. No
 * test sleeps and hopes: it waits for an answer or for a state that it can see, and an alarm ends what hangs.
 */
#ifndef WEIR_TESTS_SUPPORT_CLIENT_PROCESS_HH
#define WEIR_TESTS_SUPPORT_CLIENT_PROCESS_HH

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <string>

#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

constexpr unsigned deadline_s = sanitized ? 240 : 60;

/* What two processes say to each other. 0 and -1: the other end is gone. */
class Line
{
public:
    explicit Line(int fd) : fd_(fd)
    {
    }
    void say(char word) const
    {
        (void)!send(fd_, &word, sizeof(word), MSG_NOSIGNAL);
    }
    char hear() const
    {
        char word = 0;
        return receive(&word, sizeof(word)) ? word : '\0';
    }
    bool has_news(int timeout_ms = 0) const
    {
        struct pollfd poll_fd = {fd_, POLLIN, 0};
        return poll(&poll_fd, 1, timeout_ms) == 1;
    }
    void say_number(int64_t number) const
    {
        (void)!send(fd_, &number, sizeof(number), MSG_NOSIGNAL);
    }
    int64_t hear_number() const
    {
        int64_t number = -1;
        return receive(&number, sizeof(number)) ? number : -1;
    }

private:
    bool receive(void *to, size_t bytes) const
    {
        ssize_t got;
        do {
            got = recv(fd_, to, bytes, MSG_WAITALL);
        } while (got < 0 && errno == EINTR);
        return got == (ssize_t)bytes;
    }

    int fd_;
};

/* A process that runs a function; what gtest finds wrong in it makes its end a failure. */
class Child
{
public:
    using Body = std::function<void(const Line &)>;

    explicit Child(const Body &body)
    {
        int fds[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
            abort();
        fflush(nullptr);
        pid_t parent = getpid();
        /* Until they are its own, a signal would have the parent's handlers remove the parent's bus. */
        sigset_t all, before;
        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, &before);
        pid_ = fork();
        if (pid_ < 0)
            abort();
        if (pid_ == 0) {
            close(fds[0]);
            for (int number : {SIGALRM, SIGABRT, SIGTERM, SIGINT, SIGSEGV, SIGBUS})
                signal(number, SIG_DFL);
            sigprocmask(SIG_SETMASK, &before, nullptr);
            die_with(parent);
            alarm(deadline_s);
            body(Line(fds[1]));
            fflush(nullptr);
            _exit(testing::Test::HasFailure() ? 1 : 0);
        }
        sigprocmask(SIG_SETMASK, &before, nullptr);
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

    /* The kernel forgets this when a process changes its user: say it again then. */
    static void die_with(pid_t parent)
    {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(99);
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
    /* Killed, and gone: the kernel has dropped its locks. */
    void kill_and_reap()
    {
        kill(SIGKILL);
        (void)status();
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
    /* Waits for the end: 0 when all was well, or what it exited with, or -signal. */
    int result()
    {
        int now = status();
        return WIFEXITED(now) ? WEXITSTATUS(now) : -WTERMSIG(now);
    }
    bool ended() const
    {
        siginfo_t info = {};
        return reaped_ || (waitid(P_PID, (id_t)pid_, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid_);
    }
    void stop()
    {
        int now = 0;
        kill(SIGSTOP);
        while (waitpid(pid_, &now, WUNTRACED) < 0 && errno == EINTR) {
        }
        ASSERT_TRUE(WIFSTOPPED(now));
    }
    void go_on() const
    {
        kill(SIGCONT);
    }
    /* Waits until it sleeps in futex(2), on one word or several, or has ended (false). Needs the right to look into it. */
    bool wait_until_asleep() const
    {
        std::string path = "/proc/" + std::to_string(pid_) + "/syscall";
        std::string futex = std::to_string(SYS_futex), futex_waitv = "449"; /* on every architecture */
        while (!ended()) {
            std::string number;
            std::ifstream(path) >> number;
            if (number == futex || number == futex_waitv)
                return true;
            sched_yield();
        }
        return false;
    }

private:
    pid_t pid_ = -1;
    int fd_ = -1;
    int status_ = 0;
    bool reaped_ = false;
};

#endif
