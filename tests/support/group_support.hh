/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of groups through the library: handles that close themselves, and what they hold as text. */
#ifndef WEIR_TESTS_SUPPORT_GROUP_SUPPORT_HH
#define WEIR_TESTS_SUPPORT_GROUP_SUPPORT_HH

#include "tests/support/client_support.hh"

using GroupInfo = struct weir_group_info;

struct GroupOptions : weir_group_options {
    GroupOptions() : weir_group_options(WEIR_GROUP_OPTIONS_INIT)
    {
        lease_ns = WEIR_FOREVER;
        max_entries = 64;
        max_workers = 4;
    }
    GroupOptions &with_lease(int64_t ns)
    {
        lease_ns = ns;
        return *this;
    }
    GroupOptions &with_from(uint64_t position)
    {
        from = position;
        return *this;
    }
    GroupOptions &with_backoff(int64_t first_ns, int64_t most_ns, uint32_t percent)
    {
        backoff_ns = first_ns;
        backoff_max_ns = most_ns;
        backoff_percent = percent;
        return *this;
    }
    GroupOptions &with_entries(uint32_t entries)
    {
        max_entries = entries;
        return *this;
    }
};

class GroupWorker
{
public:
    GroupWorker(const std::string &bus, uint32_t prefetch = 0, const char *group = "group", const char *ring = "ring",
                int64_t spin_ns = 0)
    {
        weir_worker_options options = WEIR_WORKER_OPTIONS_INIT;
        options.prefetch = prefetch;
        options.spin_ns = spin_ns;
        error = weir_worker_open(bus.c_str(), ring, group, &options, &handle_);
    }
    GroupWorker(const GroupWorker &) = delete;
    GroupWorker &operator=(const GroupWorker &) = delete;
    ~GroupWorker()
    {
        close();
    }
    void close()
    {
        weir_worker_close(handle_);
        handle_ = nullptr;
    }
    operator weir_worker *() const
    {
        return handle_;
    }
    /* "TEXT#ATTEMPT" of the next message, or "[ERROR]". */
    std::string next(int64_t timeout_ns = 0)
    {
        int r = weir_worker_next(handle_, timeout_ns, &task);
        if (r < 0)
            return "[" + std::string(strerrorname_np(-r)) + "]";
        return text_of(task.message) + "#" + std::to_string(task.attempt);
    }
    int ack() const
    {
        return weir_worker_ack(handle_, &task, 1, nullptr);
    }
    int ack(const weir_task &one) const
    {
        return weir_worker_ack(handle_, &one, 1, nullptr);
    }
    int nack(int64_t delay_ns = 0) const
    {
        return weir_worker_nack(handle_, &task, delay_ns);
    }
    /* All that is there, acknowledged. */
    std::vector<std::string> drain()
    {
        std::vector<std::string> texts;
        for (std::string text; (text = next())[0] != '[';) {
            texts.push_back(text);
            EXPECT_EQ(ack(), 0) << weir_last_error();
        }
        return texts;
    }

    int error;
    weir_task task = {};

private:
    weir_worker *handle_ = nullptr;
};

class GroupTest : public ClientTest
{
protected:
    int create_group(const weir_group_options &options = GroupOptions(), const char *name = "group") const
    {
        return weir_group_create(bus_.c_str(), "ring", name, &options);
    }
    GroupInfo group_info(const char *name = "group") const
    {
        GroupInfo info = {};
        info.size = sizeof info;
        EXPECT_EQ(weir_group_inspect(bus_.c_str(), "ring", name, &info), 0) << weir_last_error();
        return info;
    }
    std::vector<std::string> groups() const
    {
        std::vector<std::string> names;
        EXPECT_EQ(weir_group_list(
                      bus_.c_str(), "ring",
                      [](void *ctx, const char *name) {
                          static_cast<std::vector<std::string> *>(ctx)->push_back(name);
                          return 0;
                      },
                      &names),
                  0)
            << weir_last_error();
        return names;
    }
    static std::vector<uint64_t> publish(const Pub &pub, int from, int to)
    {
        std::vector<uint64_t> positions;
        for (int i = from; i < to; i++) {
            uint64_t position = 0;
            EXPECT_EQ(pub.send(std::to_string(i), 0, &position), 0) << weir_last_error();
            positions.push_back(position);
        }
        return positions;
    }
    static std::vector<std::string> numbers(int from, int to, int attempt = 1)
    {
        std::vector<std::string> texts;
        for (int i = from; i < to; i++)
            texts.push_back(std::to_string(i) + "#" + std::to_string(attempt));
        return texts;
    }
};

#endif
