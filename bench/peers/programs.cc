// SPDX-License-Identifier: Apache-2.0
#include "bench/peers/programs.hh"

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <grp.h>
#include <mqueue.h>
#include <poll.h>
#include <sched.h>
#include <stdexcept>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace peers
{

static volatile sig_atomic_t stop_seen;

static void note_stop(int)
{
    stop_seen = 1;
}

bool stopped()
{
    return stop_seen != 0;
}

void catch_stops()
{
    struct sigaction action = {};
    action.sa_handler = note_stop;
    for (int number : {SIGINT, SIGTERM, SIGHUP})
        sigaction(number, &action, nullptr);
    signal(SIGPIPE, SIG_IGN);
    // Servers that put themselves in the background become children of this process, which ends them.
    prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static double now()
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return static_cast<double>(at.tv_sec) + static_cast<double>(at.tv_nsec) / 1e9;
}

[[noreturn]] static void become(const std::vector<std::string> &words)
{
    std::vector<char *> argv;
    for (const auto &word : words)
        argv.push_back(const_cast<char *>(word.c_str()));
    argv.push_back(nullptr);
    execvp(argv[0], argv.data());
    dprintf(STDERR_FILENO, "%s: %s\n", argv[0], std::strerror(errno));
    _exit(127);
}

// Where a child and then its parent complain, the child knows better.
static std::string first_line(const std::string &text)
{
    return text.substr(0, text.find('\n'));
}

// Ends whoever of a group is left.
static void end_group(pid_t group)
{
    kill(-group, SIGKILL);
    while (waitpid(-group, nullptr, 0) > 0 || errno == EINTR)
        ;
}

Outcome run_program(const std::vector<std::string> &words, double seconds)
{
    int out[2], error[2];
    if (pipe2(out, O_CLOEXEC) < 0 || pipe2(error, O_CLOEXEC) < 0)
        throw std::runtime_error("pipe");
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(out[1], STDOUT_FILENO);
        dup2(error[1], STDERR_FILENO);
        become(words);
    }
    close(out[1]);
    close(error[1]);
    Outcome outcome;
    std::string complaint;
    struct pollfd polled[2] = {{out[0], POLLIN, 0}, {error[0], POLLIN, 0}};
    double start = now();
    bool late = false, exited = false;
    int status = 0;
    auto take = [&](struct pollfd &each) { // false: nothing more is there now
        char buffer[65536];
        ssize_t n = each.fd >= 0 ? read(each.fd, buffer, sizeof buffer) : -1;
        if (n > 0)
            (&each == polled ? outcome.output : complaint).append(buffer, static_cast<size_t>(n));
        else if (n == 0)
            each.fd = -1;
        return n > 0;
    };
    for (int fd : {out[0], error[0]})
        fcntl(fd, F_SETFL, O_NONBLOCK);
    while (!exited && !late && !stopped()) {
        poll(polled, 2, 5);
        late = now() - start > seconds;
        exited = waitpid(pid, &status, WNOHANG) == pid;
        for (auto &each : polled)
            while (take(each))
                ;
    }
    end_group(pid);
    close(out[0]);
    close(error[0]);
    outcome.ok = exited && WIFEXITED(status) && WEXITSTATUS(status) == 0 && !outcome.output.empty();
    if (exited && WIFSIGNALED(status))
        outcome.reason = "ended by signal " + std::to_string(WTERMSIG(status));
    else if (late)
        outcome.reason = "did not end in " + std::to_string(static_cast<int>(seconds)) + " s";
    else
        outcome.reason = complaint.empty() ? "ended without a result" : first_line(complaint);
    return outcome;
}

// -- site ------------------------------------------------------------------------------------------------------------

static std::string make_folder(const std::string &parent)
{
    std::string folder = parent + "/weir-peers-XXXXXX";
    if (!mkdtemp(folder.data()))
        throw std::runtime_error(parent + ": " + std::strerror(errno));
    return folder;
}

Site::Site(const std::string &parent)
{
    const char *temporary = std::getenv("TMPDIR");
    directory = make_folder(!parent.empty() ? parent : temporary && *temporary ? temporary : "/var/tmp");
    bus = make_folder("/dev/shm");
    name = bus.substr(bus.rfind('/') + 1);
}

void Site::clean(const std::string &prefix) const
{
    for (const char *folder : {"/dev/shm", "/tmp"}) {
        DIR *all = opendir(folder);
        while (struct dirent *entry = all ? readdir(all) : nullptr)
            if (std::strncmp(entry->d_name, (prefix + "-").c_str(), prefix.size() + 1) == 0)
                unlink((std::string(folder) + "/" + entry->d_name).c_str());
        if (all)
            closedir(all);
    }
    for (int queue = 0; queue < 10; queue++)
        for (int channel = 0; channel < 10; channel++) {
            std::string suffix = channel ? "-" + std::to_string(channel) : "";
            mq_unlink(("/" + prefix + "-mq" + std::to_string(queue) + suffix).c_str());
        }
}

Site::~Site()
{
    std::error_code ignored;
    std::filesystem::remove_all(directory, ignored);
    std::filesystem::remove_all(bus, ignored);
    clean(name);
}

// -- servers ---------------------------------------------------------------------------------------------------------

Server::Server(const std::vector<std::string> &words, const std::vector<int> &cpus, const std::string &log)
    : pid_(fork())
{
    if (pid_ < 0)
        throw std::runtime_error("fork");
    if (pid_ > 0) {
        setpgid(pid_, pid_);
        return;
    }
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int cpu : cpus)
        CPU_SET(static_cast<size_t>(cpu), &set);
    if (!cpus.empty())
        sched_setaffinity(0, sizeof set, &set);
    int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600), nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    become(words);
}

void Server::pause(bool paused) const
{
    kill(-pid_, paused ? SIGSTOP : SIGCONT);
}

bool Server::runs()
{
    int status;
    return waitpid(pid_, &status, WNOHANG) == 0;
}

Server::~Server()
{
    pause(false);
    kill(-pid_, SIGTERM);
    double start = now();
    while (now() - start < 15 && runs())
        usleep(10000);
    end_group(pid_);
}

void remove_left_by(const std::string &program)
{
    if (program != "iceoryx")
        return;
    const struct group *own = getgrgid(getegid()); // which its pools are named after
    for (const std::string &path :
         {std::string("/dev/shm/iceoryx_mgmt"), own ? std::string("/dev/shm/") + own->gr_name : std::string(),
          std::string("/tmp/roudi"), std::string("/tmp/roudi.lock")})
        unlink(path.c_str());
}

// Children that this process has inherited or started: all of them.
static std::vector<pid_t> children()
{
    std::vector<pid_t> found;
    std::ifstream file("/proc/self/task/" + std::to_string(getpid()) + "/children");
    for (pid_t pid; file >> pid;)
        found.push_back(pid);
    return found;
}

void end_orphans()
{
    for (int i = 0; i < 500 && !children().empty(); i++) {
        for (pid_t pid : children())
            kill(pid, SIGKILL);
        while (waitpid(-1, nullptr, WNOHANG) > 0)
            ;
        usleep(10000);
    }
}

} // namespace peers
