// SPDX-License-Identifier: Apache-2.0
// Runs the built programs: with a deadline for everything, and nothing left behind.
#pragma once

#include <gtest/gtest.h>
#include <jansson.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <memory>
#include <poll.h>
#include <sstream>
#include <string>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

namespace cli
{

using Clock = std::chrono::steady_clock;
using Words = std::vector<std::string>;

inline double seconds_since(Clock::time_point then)
{
    return std::chrono::duration<double>(Clock::now() - then).count();
}

// How an end is reported: the exit status, or 1000 + the signal that killed it.
enum { KILLED_BY = 1000 };

class Process
{
public:
    enum Input { PIPE, NOTHING };

    explicit Process(const Words &words, Input input = PIPE, const Words &environment = {})
    {
        int in[2] = {-1, -1}, out[2], err[2];
        if (input == PIPE)
            EXPECT_EQ(pipe2(in, O_CLOEXEC), 0);
        else
            in[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        EXPECT_EQ(pipe2(out, O_CLOEXEC), 0);
        EXPECT_EQ(pipe2(err, O_CLOEXEC), 0);
        std::vector<char *> argv;
        for (const std::string &word : words)
            argv.push_back(const_cast<char *>(word.c_str()));
        argv.push_back(nullptr);
        pid_ = fork();
        if (pid_ == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            alarm(0);
            dup2(in[0], 0);
            dup2(out[1], 1);
            dup2(err[1], 2);
            for (const std::string &variable : environment)
                putenv(const_cast<char *>(variable.c_str()));
            execvp(argv[0], argv.data());
            _exit(127);
        }
        close(in[0]);
        close(out[1]);
        close(err[1]);
        in_ = in[1];
        out_ = out[0];
        err_ = err[0];
        if (in_ >= 0)
            fcntl(in_, F_SETFL, O_NONBLOCK);
    }
    Process(const Process &) = delete;
    Process &operator=(const Process &) = delete;
    ~Process()
    {
        if (pid_ > 0 && !ended_) {
            kill(pid_, SIGKILL);
            kill(pid_, SIGCONT);
            waitpid(pid_, nullptr, 0);
        }
        close_input();
        close_output();
        if (err_ >= 0)
            close(err_);
    }

    pid_t pid() const
    {
        return pid_;
    }
    void send_signal(int number) const
    {
        kill(pid_, number);
    }
    void close_input()
    {
        if (in_ >= 0)
            close(in_);
        in_ = -1;
    }
    // The reader of its output goes away.
    void close_output()
    {
        if (out_ >= 0)
            close(out_);
        out_ = -1;
    }
    // Writes all, reading what comes meanwhile.
    bool write_input(const std::string &bytes, double seconds = 20)
    {
        auto began = Clock::now();
        size_t done = 0;
        while (done < bytes.size() && seconds_since(began) < seconds) {
            ssize_t written = ::write(in_, bytes.data() + done, bytes.size() - done);
            if (written > 0)
                done += static_cast<size_t>(written);
            else if (errno != EAGAIN && errno != EINTR)
                return false;
            else
                pump(10, false);
        }
        return done == bytes.size();
    }
    bool wait_for_output(const std::string &text, double seconds = 20)
    {
        return wait_for(output, text, seconds);
    }
    bool wait_for_error(const std::string &text, double seconds = 20)
    {
        return wait_for(error, text, seconds);
    }
    // Its end, as of KILLED_BY; -1 when it has not ended by then.
    int wait(double seconds = 20)
    {
        auto began = Clock::now();
        while (!ended_ && seconds_since(began) < seconds) {
            pump(10, true);
            int status = 0;
            if (waitpid(pid_, &status, WNOHANG) == pid_) {
                ended_ = true;
                status_ = WIFSIGNALED(status) ? KILLED_BY + WTERMSIG(status) : WEXITSTATUS(status);
            }
        }
        while (ended_ && pump(0, true))
            ;
        return ended_ ? status_ : -1;
    }
    bool running()
    {
        wait(0.01);
        return !ended_;
    }

    std::string output, error;

private:
    bool wait_for(const std::string &where, const std::string &text, double seconds)
    {
        auto began = Clock::now();
        while (where.find(text) == std::string::npos && seconds_since(began) < seconds)
            pump(10, true);
        return where.find(text) != std::string::npos;
    }
    // Reads what is there. True if something was.
    bool pump(int timeout_ms, bool wait_for_it)
    {
        pollfd ready[2] = {{out_, POLLIN, 0}, {err_, POLLIN, 0}};
        bool any = false;
        if (poll(ready, 2, wait_for_it ? timeout_ms : 0) <= 0)
            return false;
        any |= take(ready[0], out_, output);
        any |= take(ready[1], err_, error);
        if (!any && wait_for_it && timeout_ms > 0)
            usleep(1000);
        return any;
    }
    static bool take(const pollfd &ready, int &fd, std::string &into)
    {
        static char buffer[65536];
        if (fd < 0 || !(ready.revents & (POLLIN | POLLHUP)))
            return false;
        ssize_t got = read(fd, buffer, sizeof buffer);
        if (got > 0)
            into.append(buffer, static_cast<size_t>(got));
        return got > 0;
    }

    pid_t pid_ = -1;
    int in_ = -1, out_ = -1, err_ = -1;
    bool ended_ = false;
    int status_ = -1;
};

struct Result {
    int status;
    std::string output, error;
};

struct JsonFree {
    void operator()(json_t *json) const
    {
        json_decref(json);
    }
};
using Json = std::unique_ptr<json_t, JsonFree>;

// A bus and a folder on disk of its own for each test.
class Test : public ::testing::Test
{
protected:
    void SetUp() override
    {
        const auto *info = ::testing::UnitTest::GetInstance()->current_test_info();
        std::string name = std::string(info->test_suite_name()) + "." + info->name();
        for (char &c : name)
            c = c == '/' ? '_' : c;
        bin_ = need("WEIR_BIN");
        bus_ = need("WEIR_BUS") + "/" + name;
        disk_ = need("WEIR_TEST_DIR") + "/" + name;
        std::filesystem::create_directories(bus_);
        std::filesystem::create_directories(disk_ + "/journal");
        alarm(120); // a test that hangs is killed, and all its children with it
    }
    void TearDown() override
    {
        alarm(0);
        std::filesystem::remove_all(bus_);
        if (!HasFailure())
            std::filesystem::remove_all(disk_);
    }
    static std::string need(const char *variable)
    {
        const char *value = getenv(variable);
        if (!value) {
            fprintf(stderr, "%s is not set: run this with ctest\n", variable);
            _exit(77);
        }
        return value;
    }

    Words weir(const Words &words) const
    {
        Words all = {bin_ + "/weir", "--bus", bus_};
        all.insert(all.end(), words.begin(), words.end());
        return all;
    }
    Result run_words(const Words &words, const std::string &input = "", double seconds = 30) const
    {
        Process process(words);
        process.write_input(input);
        process.close_input();
        int status = process.wait(seconds);
        return {status, process.output, process.error};
    }
    // weir --bus BUS words...
    Result run(const Words &words, const std::string &input = "", double seconds = 30) const
    {
        return run_words(weir(words), input, seconds);
    }
    void create(const std::string &ring, const Words &options = {"--memory"}) const
    {
        Words words = {"ring", "create", ring};
        words.insert(words.end(), options.begin(), options.end());
        Result result = run(words);
        ASSERT_EQ(result.status, 0) << result.error;
    }
    void publish(const std::string &ring, const std::string &input, const Words &options = {}) const
    {
        Words words = {"pub", ring};
        words.insert(words.end(), options.begin(), options.end());
        Result result = run(words, input);
        ASSERT_EQ(result.status, 0) << result.error;
    }
    // All that is there, as lines.
    std::string contents(const std::string &ring) const
    {
        return run({"sub", ring, "--timeout", "0"}).output;
    }
    std::unique_ptr<Process> start_weird() const
    {
        return std::make_unique<Process>(Words{bin_ + "/weird", "--bus", bus_, "--journal", disk_ + "/journal"},
                                         Process::NOTHING);
    }
    // Waits until weird serves the ring.
    bool served(const std::string &ring, double seconds = 20) const
    {
        auto began = Clock::now();
        while (seconds_since(began) < seconds) {
            Result result = run({"ring", "info", ring, "--json"});
            if (result.status == 0 && text(parse(result.output).get(), "daemon") == "alive")
                return true;
        }
        return false;
    }
    // Waits until that many are attached.
    bool attached(const std::string &ring, const char *who, int count, double seconds = 20) const
    {
        auto began = Clock::now();
        while (seconds_since(began) < seconds)
            if (number(parse(run({"ring", "info", ring, "--json"}).output).get(), who) >= count)
                return true;
        return false;
    }
    std::string file(const std::string &name, const std::string &bytes) const
    {
        std::string path = disk_ + "/" + name;
        std::ofstream(path, std::ios::binary) << bytes;
        return path;
    }

    // One JSON text, or null and a failure.
    static Json parse(const std::string &text)
    {
        json_error_t error;
        json_t *json = json_loadb(text.data(), text.size(), JSON_ALLOW_NUL, &error);
        EXPECT_NE(json, nullptr) << error.text << " in: " << text;
        return Json(json);
    }
    // One on each line.
    static std::vector<Json> parse_lines(const std::string &text)
    {
        std::vector<Json> all;
        std::istringstream lines(text);
        for (std::string line; std::getline(lines, line);)
            all.push_back(parse(line));
        return all;
    }
    static json_int_t number(const json_t *object, const char *name)
    {
        const json_t *member = json_object_get(object, name);
        EXPECT_TRUE(json_is_integer(member)) << name;
        return json_integer_value(member);
    }
    static std::string text(const json_t *object, const char *name)
    {
        const json_t *member = json_object_get(object, name);
        EXPECT_TRUE(json_is_string(member)) << name;
        return member && json_is_string(member) ? std::string(json_string_value(member), json_string_length(member))
                                                : "";
    }
    static bool truth(const json_t *object, const char *name)
    {
        const json_t *member = json_object_get(object, name);
        EXPECT_TRUE(json_is_boolean(member)) << name;
        return json_is_true(member);
    }

    std::string bin_, bus_, disk_;
};

inline std::string numbers(int first, int last)
{
    std::string text;
    for (int i = first; i <= last; i++)
        text += std::to_string(i) + "\n";
    return text;
}

inline std::string frame(const std::string &bytes)
{
    size_t n = bytes.size();
    std::string head = {static_cast<char>(n & 255), static_cast<char>(n >> 8 & 255), static_cast<char>(n >> 16 & 255),
                        static_cast<char>(n >> 24 & 255)};
    return head + bytes;
}

// As EXPECT_EQ() of two long texts, without printing them.
inline ::testing::AssertionResult same(const std::string &got, const std::string &expected)
{
    if (got == expected)
        return ::testing::AssertionSuccess();
    size_t at = 0;
    while (at < got.size() && at < expected.size() && got[at] == expected[at])
        at++;
    size_t from = at < 20 ? 0 : at - 20;
    return ::testing::AssertionFailure() << got.size() << " bytes instead of " << expected.size() << ", different at "
                                         << at << ": \"" << got.substr(from, 60) << "\" instead of \""
                                         << expected.substr(from, 60) << "\"";
}

inline bool contains(const std::string &text, const std::string &part)
{
    return text.find(part) != std::string::npos;
}

} // namespace cli
