/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon as a process beside the clients of a test: killed, stopped, or held to limits, as the test likes. */
#ifndef WEIR_TESTS_SUPPORT_STORM_WEIRD_HH
#define WEIR_TESTS_SUPPORT_STORM_WEIRD_HH

#include <sstream>

#include "tests/support/client_support.hh"

inline std::string environment_or_skip(const char *name)
{
    const char *value = getenv(name);
    if (!value) {
        fprintf(stderr, "%s is not set: run this with ctest\n", name);
        _exit(77);
    }
    return value;
}

/* Runs weird until it is told to stop; `before` runs in its process first. What it says goes to JOURNAL.log. */
inline std::unique_ptr<Child> start_weird(
    const std::string &bus, const std::string &journal, const std::function<void()> &before = [] {})
{
    std::string program = environment_or_skip("WEIR_BIN") + "/weird_testing", log = journal + ".log";
    auto weird = std::make_unique<Child>([&](const Line &line) {
        int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
        dup2(fd, STDERR_FILENO);
        alarm(0); /* it ends with the test, which has a deadline */
        unsetenv("NOTIFY_SOCKET");
        before();
        line.say('s');
        execl(program.c_str(), program.c_str(), "--bus", bus.c_str(), "--journal", journal.c_str(), "--verbose",
              static_cast<char *>(nullptr));
        _exit(127);
    });
    EXPECT_EQ(weird->line().hear(), 's'); /* from here on signals are its own to take */
    return weird;
}

inline std::string text_of_file(const std::string &path)
{
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
}

/* True when it came about within the deadline. */
inline bool comes_true(const std::function<bool()> &condition, int limit_s = sanitized ? 120 : 40)
{
    for (int64_t left = (int64_t)limit_s * 1000; left > 0 && !condition(); left--)
        usleep(1000);
    return condition();
}

#endif
