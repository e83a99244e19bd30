/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile neighbours, and places that give little. The outcome that is promised stands above each test. What takes root
 * (another user, a pid namespace, a tmpfs of its own) is skipped without.
 */
// test: LINKS weir_client weir_journal weir_shm weir_ringbuf PROGRAMS weird_testing TIMEOUT 300

#include "tests/support/storm_weird.hh"

#include <atomic>
#include <filesystem>
#include <random>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statvfs.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
extern "C" {
#include "ringbuf/layout.h"
}
#pragma GCC diagnostic pop

namespace
{

constexpr int64_t patience = (int64_t)deadline_s * s / 2;

/* Of the closed list in weir.h. */
bool documented(int error)
{
    static const int list[] = {EINVAL,    ENOENT, EEXIST,       EACCES,         ENOMEM,      EAGAIN,
                               ETIMEDOUT, EPIPE,  EMSGSIZE,     EBUSY,          EALREADY,    ENOSPC,
                               EIDRM,     EIO,    EINTR,        EBADMSG,        EMEDIUMTYPE, EPERM,
                               ECHILD,    EILSEQ, ENAMETOOLONG, EPROTONOSUPPORT};
    return std::any_of(std::begin(list), std::end(list), [&](int one) { return error == -one; });
}

/* What the processes of a test tell each other while they run. */
struct Board {
    std::atomic<uint64_t> beats[8];
    std::atomic<bool> over;
};

class Hostile : public ClientTest
{
protected:
    void SetUp() override
    {
        ClientTest::SetUp();
        alarm(200);
        struct rlimit none = {};
        setrlimit(RLIMIT_CORE, &none); /* some of the children are to die */
        board_ = static_cast<Board *>(
            mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
        ASSERT_NE(board_, MAP_FAILED);
        disk_ = environment_or_skip("WEIR_TEST_DIR") + "/" +
                testing::UnitTest::GetInstance()->current_test_info()->test_suite_name();
        std::replace(disk_.begin() + (ptrdiff_t)disk_.rfind('/') + 1, disk_.end(), '/', '-');
        std::filesystem::remove_all(disk_);
        std::filesystem::create_directories(disk_);
    }
    void TearDown() override
    {
        munmap(board_, sizeof(Board));
        std::filesystem::remove_all(disk_);
        std::filesystem::remove(disk_ + ".log");
        ClientTest::TearDown();
    }

    /* -- good neighbours -- */

    /* Publishes numbers to a ring where nobody does harm: not one may fail. */
    void publish_numbers(const char *ring, int beat) const
    {
        Pub pub(bus_, ring);
        ASSERT_EQ(pub.error, 0) << weir_last_error();
        for (uint64_t number = 0; !board_->over; number++) {
            ASSERT_EQ(weir_pub_send(pub, &number, sizeof(number), patience, nullptr), 0) << weir_last_error();
            board_->beats[beat]++;
            if (number % 256 == 0)
                usleep(500); /* leaves the processors to the others */
        }
    }
    /* Reads each of them. */
    void read_numbers(const char *ring, int beat, const Line &line) const
    {
        SubOptions options;
        options.gating = !info(ring).journaled;
        Sub sub(bus_, ring, options);
        ASSERT_EQ(sub.error, 0) << weir_last_error();
        line.say('r');
        weir_message message;
        for (uint64_t expected = 0; !board_->over;) {
            int r = sub.next(&message, 10 * ms);
            if (r == -ETIMEDOUT)
                continue;
            uint64_t number = 0;
            ASSERT_EQ(r, 0) << weir_last_error();
            ASSERT_EQ(message.data_bytes, sizeof(number));
            memcpy(&number, message.data, sizeof(number));
            ASSERT_EQ(number, expected++) << "at " << message.position;
            board_->beats[beat]++;
        }
    }
    /* The two of them on a ring called "other", with the beats 6 and 7. */
    void start_other()
    {
        other_.push_back(std::make_unique<Child>([this](const Line &line) { read_numbers("other", 7, line); }));
        ASSERT_EQ(other_[0]->line().hear(), 'r');
        other_.push_back(std::make_unique<Child>([this](const Line &) { publish_numbers("other", 6); }));
    }
    void end_other()
    {
        uint64_t sent = board_->beats[6], read = board_->beats[7];
        EXPECT_TRUE(comes_true([&] { return board_->beats[6] > sent && board_->beats[7] > read; }));
        board_->over = true;
        for (const auto &child : other_)
            EXPECT_EQ(child->result(), 0);
        other_.clear();
    }

    /* -- whoever lives with damage: an error, and again -- */

    void publish_whatever(int beat) const
    {
        for (uint32_t turn = 0; !board_->over; turn++, board_->beats[beat]++) {
            Pub pub(bus_, "ring", turn % 2 ? "named" : nullptr);
            ASSERT_TRUE(pub.error == 0 || documented(pub.error)) << pub.error << weir_last_error();
            if (pub.error < 0)
                continue;
            std::string text(turn % 700, 'x');
            for (uint32_t i = 0; i < 100 && !board_->over; i++, board_->beats[beat]++) {
                uint64_t position = 0;
                int r = pub.send(text, 2 * ms, &position);
                ASSERT_TRUE(r == 0 || documented(r)) << r << weir_last_error();
                if (i % 10 == 0)
                    (void)weir_pub_wait(pub, position, WEIR_DURABLE, ms);
                if (r < 0 && i % 4 == 0)
                    break;
            }
        }
    }
    void read_whatever(int beat, bool gate) const
    {
        for (uint32_t turn = 0; !board_->over; turn++, board_->beats[beat]++) {
            SubOptions options;
            options.with_spin(turn % 3 ? 0 : 20000).with_cursor(turn % 2 ? "cursor" : nullptr);
            options.gating = gate && turn % 4 == 0;
            options.from = turn % 5 ? WEIR_POSITION_START : WEIR_POSITION_END;
            Sub sub(bus_, "ring", options);
            ASSERT_TRUE(sub.error == 0 || documented(sub.error)) << sub.error << weir_last_error();
            weir_message messages[8];
            for (uint32_t i = 0; sub.error == 0 && i < 200 && !board_->over; i++, board_->beats[beat]++) {
                int r = i % 2 ? weir_sub_next_batch(sub, messages, 8, 2 * ms) : sub.next(messages, 2 * ms);
                ASSERT_TRUE(r >= 0 || documented(r)) << r << weir_last_error();
                for (int k = 0; k < (r > 0 ? r : r == 0); k++)
                    touch(messages[k]);
                if (r >= 0 && options.cursor)
                    (void)weir_sub_save(sub, messages[0].next);
                if (r < 0 && i % 4 == 0)
                    break;
            }
        }
    }
    /* Every byte that the message says it has. */
    static void touch(const weir_message &message)
    {
        const char *name;
        const void *value;
        size_t name_bytes, value_bytes;
        uint32_t sum = 0;
        auto add = [&](const void *bytes, size_t count) {
            for (size_t i = 0; i < count; i++)
                sum += static_cast<const uint8_t *>(bytes)[i];
        };
        add(message.data, message.data_bytes);
        add(message.key, message.key_bytes);
        for (size_t i = 0; weir_message_header_at(&message, i, &name, &name_bytes, &value, &value_bytes) == 0; i++) {
            add(name, name_bytes);
            add(value, value_bytes);
        }
        asm volatile("" : : "r"(sum)); /* read though nobody wants it */
    }
    void look_at_whatever(int beat) const
    {
        for (; !board_->over; board_->beats[beat]++) {
            RingInfo info = {};
            info.size = sizeof(info);
            int r = weir_ring_inspect(bus_.c_str(), "ring", &info);
            ASSERT_TRUE(r == 0 || documented(r)) << r << weir_last_error();
            r = weir_ring_participants(
                bus_.c_str(), "ring", [](void *, const weir_participant *) { return 0; }, nullptr);
            ASSERT_TRUE(r == 0 || documented(r)) << r << weir_last_error();
            r = weir_ring_check(
                bus_.c_str(), "ring", [](void *, const char *, uint64_t, const char *) {}, nullptr);
            ASSERT_TRUE(r >= 0 || documented(r)) << r << weir_last_error();
        }
    }

    /* A ring of the test's own, from its creation to a record that was read. */
    void check_round_trip(const char *name = "fresh") const
    {
        RingOptions options;
        ASSERT_EQ(weir_ring_create(bus_.c_str(), name, &options), 0) << weir_last_error();
        Pub pub(bus_, name);
        ASSERT_EQ(pub.error, 0) << weir_last_error();
        ASSERT_EQ(pub.send("hello"), 0) << weir_last_error();
        Sub sub(bus_, name);
        ASSERT_EQ(sub.error, 0) << weir_last_error();
        ASSERT_EQ(sub.text(), "hello");
    }
    void expect_success(const std::vector<std::unique_ptr<Child>> &children) const
    {
        for (const auto &child : children)
            EXPECT_EQ(child->result(), 0);
    }

    Board *board_ = nullptr;
    std::string disk_;
    std::vector<std::unique_ptr<Child>> other_;
};

/* A file of the ring, mapped with the right to write. */
class Mapped
{
public:
    explicit Mapped(const std::string &path)
    {
        int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
        struct stat status = {};
        if (fd < 0 || fstat(fd, &status) != 0)
            return;
        bytes = (size_t)status.st_size;
        void *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        at = memory == MAP_FAILED ? nullptr : static_cast<uint8_t *>(memory);
        if (at)
            before.assign(at, at + bytes);
    }
    Mapped(const Mapped &) = delete;
    Mapped &operator=(const Mapped &) = delete;
    ~Mapped()
    {
        if (at)
            munmap(at, bytes);
    }
    void restore() const
    {
        memcpy(at, before.data(), bytes);
    }
    /* Behind `from`: each byte, or so many words that look like something. */
    void scribble(std::mt19937_64 &random, size_t from, size_t count) const
    {
        auto *words = reinterpret_cast<volatile uint64_t *>(at);
        size_t first = from / 8, all = bytes / 8 - first;
        for (size_t i = 0; i < (count ? count : all); i++) {
            volatile uint64_t &word = words[first + (count ? random() % all : i)];
            uint64_t drawn = random();
            switch (count ? drawn % 6 : 0) {
            case 0:
                word = drawn;
                break;
            case 1:
                word = word ^ UINT64_C(1) << drawn / 8 % 64;
                break;
            case 2:
                word = words[first + drawn / 8 % all]; /* what means something elsewhere */
                break;
            case 3:
                word = drawn / 8 % 16;
                break;
            case 4:
                word = ~(drawn / 8 % 16);
                break;
            default:
                word = word + drawn / 8 % 5 - 2;
                break;
            }
        }
    }

    uint8_t *at = nullptr;
    size_t bytes = 0;

private:
    std::vector<uint8_t> before;
};

/* -- scribbling ---------------------------------------------------------------------------------------------------- */

struct Victim {
    const char *name;
    int exclusive, policy, journaled;
};

class HostileScribble : public Hostile, public testing::WithParamInterface<Victim>
{
};

INSTANTIATE_TEST_SUITE_P(On, HostileScribble,
                         testing::Values(Victim{"SharedBlock", 0, WEIR_BLOCK, 0},
                                         Victim{"SharedDropOld", 0, WEIR_DROP_OLD, 0},
                                         Victim{"SharedJournaled", 0, WEIR_BLOCK, 1},
                                         Victim{"ExclusiveDropNew", 1, WEIR_DROP_NEW, 0},
                                         Victim{"ExclusiveJournaled", 1, WEIR_BLOCK, 1}),
                         [](const testing::TestParamInfo<Victim> &info) { return std::string(info.param.name); });

/*
 * A publisher writes over every byte that it may write, while the others run, with noise and with what looks right. Outcome:
 * whoever uses that ring gets errors of the documented list, or nonsense as records; nobody crashes, nobody hangs, weird
 * goes on, a ring beside it is not disturbed, and the ring can be removed and made again.
 */
TEST_P(HostileScribble, CostsTheRingItsSenseAndNobodyElseAnything)
{
    RingOptions options = RingOptions()
                              .with_exclusive(GetParam().exclusive)
                              .with_policy(GetParam().policy)
                              .with_journal(GetParam().journaled)
                              .with_users(3, 4);
    ASSERT_EQ(create(options), 0) << weir_last_error();
    ASSERT_EQ(create(RingOptions().with_journal(GetParam().journaled).with_segments(65536, 64), "other"), 0)
        << weir_last_error();
    std::unique_ptr<Child> weird;
    if (GetParam().journaled)
        weird = start_weird(bus_, disk_);
    start_other();
    std::vector<std::unique_ptr<Child>> users;
    bool gate = !GetParam().journaled && GetParam().policy != WEIR_DROP_OLD;
    users.push_back(std::make_unique<Child>([&](const Line &) { publish_whatever(0); }));
    users.push_back(std::make_unique<Child>([&](const Line &) { publish_whatever(1); }));
    users.push_back(std::make_unique<Child>([&](const Line &) { read_whatever(2, gate); }));
    users.push_back(std::make_unique<Child>([&](const Line &) { read_whatever(3, gate); }));
    users.push_back(std::make_unique<Child>([&](const Line &) { look_at_whatever(4); }));

    std::mt19937_64 random(42);
    Mapped control(path("ring/control")), readers(path("ring/readers")), data(path("ring/data"));
    ASSERT_TRUE(control.at && readers.at && data.at);
    for (int round = 0; round < 60 && !HasFailure(); round++) {
        if (round % 3 == 0) {
            control.restore();
            readers.restore();
            data.restore();
        }
        /* The heads last: with them damaged nobody attaches any more. */
        bool heads = round >= 50 && round % 2;
        size_t count = round % 5 == 4 ? 0 : 1 + random() % 40;
        control.scribble(random, heads ? 0 : 256, count);
        readers.scribble(random, heads ? 0 : 128, count);
        data.scribble(random, 0, count ? count * 4 : 0);
        /* One after the other has to get through a call, lest it be over before anybody met it. */
        size_t i = (size_t)round % users.size();
        uint64_t before = board_->beats[i];
        EXPECT_TRUE(comes_true([&] { return board_->beats[i] > before + 1 || users[i]->ended(); }))
            << "user " << i << " hangs in round " << round;
        EXPECT_FALSE(users[i]->ended()) << "user " << i << " in round " << round << ": " << users[i]->result();
    }
    EXPECT_FALSE(weird && weird->ended()) << text_of_file(disk_ + ".log");
    end_other();
    expect_success(users);
    int r = weir_ring_remove(bus_.c_str(), "ring", 1, 0);
    EXPECT_TRUE(r == 0 || documented(r)) << weir_last_error();
    if (weird) {
        weird->kill(SIGTERM);
        EXPECT_EQ(weird->result(), 0) << text_of_file(disk_ + ".log");
    }
    RingInfo info = {};
    info.size = sizeof(info);
    EXPECT_EQ(weir_ring_inspect(bus_.c_str(), "ring", &info), -ENOENT) << weir_last_error();
    check_round_trip("ring");
}

/* -- truncation ---------------------------------------------------------------------------------------------------- */

class HostileCut : public Hostile, public testing::WithParamInterface<const char *>
{
};

INSTANTIATE_TEST_SUITE_P(Of, HostileCut, testing::Values("control", "readers", "data", "locks", "locks.readers"),
                         [](const testing::TestParamInfo<const char *> &info) {
                             std::string name = info.param;
                             name.erase(std::remove(name.begin(), name.end(), '.'), name.end());
                             return name;
                         });

/*
 * Files on tmpfs cannot be sealed against it: who may write a file may cut it short. Outcome: a process that has the ring
 * open gets an error, or dies of SIGBUS (a subscriber may so end the ring's publishers by `readers`, the one file that it
 * may write); none hangs; none attaches any more, with a reason; a ring beside it and weird go on. The lock files are
 * empty anyway: nothing happens.
 */
TEST_P(HostileCut, EndsItsUsersAtMostAndNobodyElse)
{
    bool lock_file = std::string(GetParam()).find("locks") == 0;
    ASSERT_EQ(create(RingOptions().with_policy(WEIR_DROP_OLD).with_users(2, 3)), 0) << weir_last_error();
    ASSERT_EQ(create(RingOptions().with_journal().with_segments(65536, 64), "other"), 0) << weir_last_error();
    auto weird = start_weird(bus_, disk_);
    start_other();
    std::vector<std::unique_ptr<Child>> users;
    users.push_back(std::make_unique<Child>([&](const Line &) {
        Pub pub(bus_, "ring");
        ASSERT_EQ(pub.error, 0) << weir_last_error();
        int r;
        for (std::string text(700, 'x'); !board_->over && (r = pub.send(text, ms)) == 0;)
            board_->beats[0]++;
        EXPECT_TRUE(board_->over || documented(r)) << r;
    }));
    for (int reader : {1, 2})
        users.push_back(std::make_unique<Child>([&, reader](const Line &) {
            Sub sub(bus_, "ring", SubOptions().with_spin(reader == 1 ? 0 : -1));
            ASSERT_EQ(sub.error, 0) << weir_last_error();
            weir_message message;
            int r = 0;
            while (!board_->over && ((r = sub.next(&message, ms)) == 0 || r == -EPIPE || r == -ETIMEDOUT))
                board_->beats[reader]++;
            EXPECT_TRUE(board_->over || documented(r)) << r;
        }));
    auto all_go_on = [&] {
        uint64_t before[3];
        for (int i = 0; i < 3; i++)
            before[i] = board_->beats[i];
        return comes_true([&] {
            for (int i = 0; i < 3; i++)
                if (board_->beats[i] < before[i] + 1000)
                    return false;
            return true;
        });
    };
    ASSERT_TRUE(all_go_on());
    ASSERT_EQ(truncate(path("ring/" + std::string(GetParam())).c_str(), 0), 0);
    if (lock_file) {
        EXPECT_TRUE(all_go_on());
    } else {
        /* A reader at a segment's end, whose publisher ended there, touches nothing that was cut, and waits for ever. */
        uint64_t before[] = {board_->beats[0], board_->beats[1], board_->beats[2]};
        for (size_t i = 0; i < users.size(); i++) {
            EXPECT_TRUE(comes_true([&] { return users[i]->ended() || (i > 0 && board_->beats[i] > before[i] + 100); }))
                << "user " << i << " hangs";
        }
        Child late([&](const Line &) {
            EXPECT_EQ(Pub(bus_, "ring").error, -EMEDIUMTYPE);
            EXPECT_TRUE(told(GetParam())) << weir_last_error();
            EXPECT_EQ(Sub(bus_, "ring").error, -EMEDIUMTYPE);
            EXPECT_TRUE(told(GetParam())) << weir_last_error();
        });
        EXPECT_EQ(late.result(), 0);
    }
    EXPECT_FALSE(weird->ended());
    end_other();
    for (const auto &user : users) {
        int result = user->result();
        EXPECT_TRUE(result == 0 || (result == -SIGBUS && !lock_file)) << result;
    }
    weird->kill(SIGTERM);
    EXPECT_EQ(weird->result(), 0) << text_of_file(disk_ + ".log");
    EXPECT_EQ(weir_ring_remove(bus_.c_str(), "ring", 1, 0), 0) << weir_last_error();
    check_round_trip("ring");
}

/* -- read rights only ---------------------------------------------------------------------------------------------- */

class HostileReader : public Hostile
{
protected:
    void SetUp() override
    {
        Hostile::SetUp();
        if (!is_root())
            GTEST_SKIP() << "takes root, to become another user";
    }
};

/*
 * A subscriber with the right to read alone. Outcome: it cannot write a record, the ring's control words or its own
 * rights, nor open the publishers' locks, so that it can pass for nobody, alive or dead.
 */
TEST_F(HostileReader, CannotAlterARecordNorForgeLifeOrDeath)
{
    ASSERT_EQ(create(RingOptions().with_mode(0644).with_users(2, 2)), 0) << weir_last_error();
    Pub pub(bus_, "ring");
    ASSERT_EQ(pub.send("true"), 0) << weir_last_error();
    Child reader([&](const Line &) {
        ASSERT_TRUE(become(nobody, nobody));
        for (const char *file : {"control", "data"}) {
            std::string name = path("ring/" + std::string(file));
            EXPECT_EQ(open(name.c_str(), O_RDWR), -1);
            EXPECT_EQ(truncate(name.c_str(), 0), -1);
            EXPECT_EQ(chmod(name.c_str(), 0666), -1);
            EXPECT_EQ(unlink(name.c_str()), -1);
            int fd = open(name.c_str(), O_RDONLY | O_CLOEXEC);
            ASSERT_GE(fd, 0);
            EXPECT_EQ(open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDWR), -1);
            EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
            void *memory = mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0);
            ASSERT_NE(memory, MAP_FAILED);
            EXPECT_EQ(mprotect(memory, 4096, PROT_READ | PROT_WRITE), -1);
            close(fd);
        }
        EXPECT_EQ(open(path("ring/locks").c_str(), O_RDONLY), -1);
        EXPECT_EQ(open(path("ring/locks").c_str(), O_WRONLY), -1);
        EXPECT_EQ(Pub(bus_, "ring").error, -EACCES);
        EXPECT_EQ(rename(path("ring").c_str(), path("gone").c_str()), -1);
        EXPECT_EQ(weir_ring_remove(bus_.c_str(), "ring", 1, 0), -EACCES) << weir_last_error();
        Sub sub(bus_, "ring");
        EXPECT_EQ(sub.text(), "true") << "reading is what it may";
    });
    EXPECT_EQ(reader.result(), 0);
    EXPECT_EQ(pub.send("still true"), 0) << weir_last_error();
    Sub sub(bus_, "ring");
    EXPECT_EQ(sub.text(), "true");
    EXPECT_EQ(sub.text(), "still true");
}

/*
 * It takes every entry and every lock of the readers' table, announces whatever segments are in use, never moves, rings
 * for wake-ups, writes noise over `readers`. Outcome: on a journaled ring, and on one that drops what is old, publishers
 * publish on without one error; other subscribers of that ring may be kept out or get errors, which is in the right to read.
 */
TEST_F(HostileReader, CannotStallAPublisherByWhateverItWritesForReaders)
{
    ASSERT_EQ(create(RingOptions().with_policy(WEIR_DROP_OLD).with_mode(0644).with_users(2, 4)), 0);
    ASSERT_EQ(create(RingOptions().with_journal().with_mode(0644).with_segments(65536, 8).with_users(2, 4), "other"),
              0);
    auto weird = start_weird(bus_, disk_);
    std::vector<std::unique_ptr<Child>> publishers;
    publishers.push_back(std::make_unique<Child>([&](const Line &) { publish_numbers("ring", 0); }));
    publishers.push_back(std::make_unique<Child>([&](const Line &) { publish_numbers("other", 1); }));

    Child hostile([&](const Line &) {
        ASSERT_TRUE(become(nobody, nobody));
        std::mt19937_64 random(7);
        for (const char *ring : {"ring", "other"}) {
            std::string folder = path(ring);
            int beat = strcmp(ring, "other") == 0;
            auto goes_on = [&] {
                uint64_t before = board_->beats[beat];
                return comes_true([&] { return board_->beats[beat] > before + 2000; });
            };
            Mapped readers(folder + "/readers");
            ASSERT_NE(readers.at, nullptr);
            int locks = open((folder + "/locks.readers").c_str(), O_RDWR | O_CLOEXEC);
            struct flock all = {};
            all.l_type = F_WRLCK;
            ASSERT_EQ(fcntl(locks, F_OFD_SETLK, &all), 0) << "every id, for ever";
            int fd = open((folder + "/control").c_str(), O_RDONLY | O_CLOEXEC);
            auto *control = static_cast<const ring_control *>(mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd, 0));
            ASSERT_NE(control, MAP_FAILED);
            auto *table = reinterpret_cast<ring_reader *>(readers.at + RING_READERS_HEADER_BYTES);
            auto announce = [&](uint64_t back) {
                uint64_t active = *(const volatile uint64_t *)&control->active >> 12;
                for (uint64_t i = 0; i < 4; i++) {
                    table[i].id.raw = i + 1;
                    table[i].announced.raw = active - std::min(active, back + i) + 1;
                    table[i].gate.raw = (i + 2);
                }
                reinterpret_cast<ring_readers *>(readers.at)->records_want.raw = UINT64_MAX;
            };
            announce(0);
            EXPECT_TRUE(goes_on()) << "never moves: " << ring;
            for (int i = 0; i < 2000; i++) {
                announce(random() % 8);
                if (i % 100 == 0)
                    usleep(100);
            }
            EXPECT_TRUE(goes_on()) << "moves in the way: " << ring;
            for (int i = 0; i < 20; i++) {
                readers.scribble(random, i % 2 ? 0 : 128, i % 3 ? 50 : 0);
                EXPECT_TRUE(goes_on()) << "noise: " << ring;
            }
            EXPECT_TRUE(documented(Sub(bus_, ring).error));
        }
    });
    EXPECT_EQ(hostile.result(), 0);
    board_->over = true;
    expect_success(publishers);
    EXPECT_FALSE(weird->ended());
    weird->kill(SIGTERM);
    EXPECT_EQ(weird->result(), 0) << text_of_file(disk_ + ".log");
}

/*
 * Another user, on a ring that is its owner's alone. Outcome: it can neither read, nor publish, nor look, nor remove, nor
 * take a lock, nor put anything on the bus, nor stop who uses the ring; each with a reason.
 */
TEST_F(HostileReader, AnotherUserIsShutOut)
{
    ASSERT_EQ(create(), 0) << weir_last_error();
    Pub pub(bus_, "ring");
    Child other([&](const Line &) {
        ASSERT_TRUE(become(nobody, nobody));
        EXPECT_EQ(Pub(bus_, "ring").error, -EACCES);
        EXPECT_TRUE(told("uid 65534")) << weir_last_error();
        EXPECT_EQ(Sub(bus_, "ring").error, -EACCES);
        RingInfo info = {};
        info.size = sizeof(info);
        EXPECT_EQ(weir_ring_inspect(bus_.c_str(), "ring", &info), -EACCES);
        EXPECT_EQ(weir_ring_remove(bus_.c_str(), "ring", 1, 0), -EACCES);
        EXPECT_EQ(weir_ring_create(bus_.c_str(), "mine", nullptr), -EACCES);
        for (const char *file : {"control", "readers", "data", "locks", "locks.readers"})
            EXPECT_EQ(open(path("ring/" + std::string(file)).c_str(), O_RDONLY), -1) << file;
        EXPECT_EQ(open(("/proc/" + std::to_string(getppid()) + "/mem").c_str(), O_RDWR), -1);
        EXPECT_EQ(::kill(getppid(), SIGSTOP), -1);
    });
    EXPECT_EQ(other.result(), 0);
    EXPECT_EQ(pub.send("undisturbed"), 0) << weir_last_error();
    EXPECT_EQ(Sub(bus_, "ring").text(), "undisturbed");
}

/* -- a private pid namespace --------------------------------------------------------------------------------------- */

class HostileNamespace : public Hostile
{
protected:
    void hold_a_claim(const Line &line) const
    {
        ASSERT_EQ(getpid(), 1);
        Pub pub(bus_, "ring", "inside");
        ASSERT_EQ(pub.error, 0) << weir_last_error();
        void *data = nullptr;
        ASSERT_EQ(weir_pub_claim(pub, 4, nullptr, 0, &data), 0) << weir_last_error();
        memcpy(data, "late", 4);
        line.say('h');
        line.hear();
        ASSERT_EQ(weir_pub_commit(pub, 4, nullptr), 0) << weir_last_error();
        line.say('d');
        line.hear();
    }
    /* A publisher inside, which is process 1 there, with a claim open; 'c' lets it commit, 'k' kills it. */
    std::unique_ptr<Child> start_inside() const
    {
        auto outer = std::make_unique<Child>([this](const Line &line) {
            if (unshare(CLONE_NEWPID) != 0) {
                line.say('n');
                return;
            }
            int fds[2];
            ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
            pid_t inner = fork();
            if (inner == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                close(fds[0]);
                hold_a_claim(Line(fds[1]));
                _exit(testing::Test::HasFailure() ? 1 : 0);
            }
            close(fds[1]);
            Line inside(fds[0]);
            line.say(inside.hear());
            char word = line.hear();
            if (word == 'c') {
                inside.say('c');
                line.say(inside.hear());
                word = line.hear();
            }
            if (word == 'k') {
                ::kill(inner, SIGKILL);
                waitpid(inner, nullptr, 0);
                line.say('d');
            }
            line.hear(); /* the publisher inside dies with this process, a little later */
        });
        return outer;
    }
};

/*
 * Publishers in a pid namespace of their own, beside others and beside weird. Outcome: a dead one is recognised and its
 * claim passed, its name can be taken over; a live one is never buried, however many look, though the process id that it
 * wrote down means somebody else outside, or nobody.
 */
TEST_F(HostileNamespace, TheDeadAreRecognisedAndTheLivingNeverBuried)
{
    for (bool journaled : {false, true}) {
        SCOPED_TRACE(journaled ? "with weird" : "without weird");
        if (journaled) {
            ASSERT_EQ(weir_ring_remove(bus_.c_str(), "ring", 1, 0), 0) << weir_last_error();
        }
        ASSERT_EQ(create(RingOptions().with_users(3, 3).with_journal(journaled)), 0) << weir_last_error();
        std::unique_ptr<Child> weird;
        if (journaled)
            weird = start_weird(bus_, disk_);
        auto live = start_inside();
        char word = live->line().hear();
        if (word == 'n')
            GTEST_SKIP() << "a pid namespace is not permitted here";
        ASSERT_EQ(word, 'h');
        Pub pub(bus_, "ring");
        ASSERT_EQ(pub.send("behind"), 0) << weir_last_error();
        Sub sub(bus_, "ring");
        for (int i = 0; i < 20; i++) /* each of these looks for a dead claimant */
            ASSERT_EQ(sub.text(5 * ms), "[ETIMEDOUT]");
        EXPECT_EQ(Pub(bus_, "ring", "inside").error, -EBUSY) << "its name is held";
        live->line().say('c');
        ASSERT_EQ(live->line().hear(), 'd');
        EXPECT_EQ(sub.text(patience), "late");
        EXPECT_EQ(sub.text(patience), "behind");
        live->line().say('k');
        ASSERT_EQ(live->line().hear(), 'd');
        live.reset();

        auto dead = start_inside();
        ASSERT_EQ(dead->line().hear(), 'h');
        ASSERT_EQ(pub.send("behind the dead"), 0) << weir_last_error();
        ASSERT_EQ(sub.text(5 * ms), "[ETIMEDOUT]");
        dead->line().say('k');
        ASSERT_EQ(dead->line().hear(), 'd');
        EXPECT_EQ(sub.text(patience), "behind the dead");
        Pub next(bus_, "ring", "inside");
        ASSERT_EQ(next.error, 0) << weir_last_error();
        EXPECT_EQ(next.last_sequence(), 1u);
        next.close();
        EXPECT_EQ(faults(), std::vector<std::string>());
    }
}

/* -- a full tmpfs -------------------------------------------------------------------------------------------------- */

/*
 * A tmpfs of 64 MiB (what containers have), and not a page left in it. Outcome: a ring that does not fit is refused with
 * both sizes and leaves nothing; a ring that is there works on, to its last slot, with new publishers and subscribers and
 * under all its names: everything was allocated when it was made, so there is no SIGBUS.
 */
TEST_F(Hostile, FullTmpfsOf64MebibytesRefusesRingsAndDisturbsNone)
{
    if (!is_root())
        GTEST_SKIP() << "takes root, to mount a tmpfs";
    Child child([&](const Line &line) {
        if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
            mount("small", bus_.c_str(), "tmpfs", 0, "size=64m,mode=755") != 0) {
            line.say('n');
            return;
        }
        line.say('m');
        RingOptions options = RingOptions().with_policy(WEIR_DROP_OLD).with_segments(1 << 20, 32).with_users(2, 3);
        ASSERT_EQ(create(options), 0) << weir_last_error();
        EXPECT_EQ(create(options, "second"), -ENOMEM);
        EXPECT_TRUE(told("MiB")) << weir_last_error();
        EXPECT_EQ(list(), std::vector<std::string>{"ring"});
        int fd = open(path("filler").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        std::vector<char> page(4096, 'f');
        while (write(fd, page.data(), page.size()) > 0) {
        }
        EXPECT_EQ(errno, ENOSPC);
        EXPECT_EQ(create(RingOptions(), "tiny"), -ENOMEM);
        Pub pub(bus_, "ring", "named");
        ASSERT_EQ(pub.error, 0) << weir_last_error();
        Sub sub(bus_, "ring", SubOptions().with_cursor("cursor"));
        ASSERT_EQ(sub.error, 0) << weir_last_error();
        std::string text(1 << 19, 'x');
        for (uint32_t i = 0; i < 3 * info().slot_count; i++) {
            ASSERT_EQ(pub.send(text), 0) << weir_last_error();
            weir_message message;
            ASSERT_EQ(sub.next(&message), 0) << weir_last_error();
            ASSERT_EQ(text_of(message), text);
            ASSERT_EQ(weir_sub_save(sub, message.next), 0) << weir_last_error();
        }
        EXPECT_EQ(faults(), std::vector<std::string>());
    });
    if (child.line().hear() == 'n')
        GTEST_SKIP() << "a mount namespace, or a tmpfs in it, is not permitted here";
    EXPECT_EQ(child.result(), 0);
}

/* -- limits -------------------------------------------------------------------------------------------------------- */

void limit(__rlimit_resource resource, rlim_t most)
{
    struct rlimit now = {};
    ASSERT_EQ(getrlimit(resource, &now), 0);
    now.rlim_cur = most;
    ASSERT_EQ(setrlimit(resource, &now), 0);
}

size_t open_count()
{
    size_t count = 0;
    for (const auto &entry : std::filesystem::directory_iterator("/proc/self/fd"))
        count += entry.exists();
    return count;
}

/*
 * RLIMIT_NOFILE so low that each opening fails at each of its steps. Outcome: -EMFILE, and no descriptor kept; handles
 * that are open publish, read, sleep and roll over without a further descriptor.
 */
TEST_F(Hostile, WithoutDescriptorsOpeningFailsCleanlyAndOpenHandlesWork)
{
    ASSERT_EQ(create(RingOptions().with_policy(WEIR_DROP_OLD).with_users(3, 3)), 0) << weir_last_error();
    Child child([&](const Line &) {
        Pub pub(bus_, "ring");
        Sub sub(bus_, "ring");
        ASSERT_TRUE(pub.error == 0 && sub.error == 0) << weir_last_error();
        size_t before = open_count();
        int highest = dup(0); /* the lowest that is free: limits are about numbers, not counts */
        close(highest);
        bool opened = false;
        for (rlim_t most = 0; !opened && most < (rlim_t)highest + 64; most++) {
            limit(RLIMIT_NOFILE, most);
            Pub late(bus_, "ring");
            Sub later(bus_, "ring");
            RingInfo info = {};
            info.size = sizeof(info);
            int r = weir_ring_inspect(bus_.c_str(), "ring", &info);
            int created = weir_ring_create(bus_.c_str(), "more", nullptr);
            opened = late.error == 0 && later.error == 0 && r == 0 && created == 0;
            for (int error : {late.error, later.error, r, created})
                ASSERT_TRUE(error == 0 || error == -EMFILE || (error == -EEXIST && most)) << strerror(-error);
            if (created == 0) {
                EXPECT_EQ(weir_ring_remove(bus_.c_str(), "more", 1, 0), opened ? 0 : -EMFILE) << weir_last_error();
            }
        }
        EXPECT_TRUE(opened);
        limit(RLIMIT_NOFILE, 0);
        for (int i = 0; i < 200; i++) {
            ASSERT_EQ(pub.send(std::string(1000, 'x')), 0) << weir_last_error();
            ASSERT_EQ(sub.text(ms).size(), 1000u) << weir_last_error();
        }
        EXPECT_EQ(sub.text(ms), "[ETIMEDOUT]");
        limit(RLIMIT_NOFILE, 1024);
        EXPECT_EQ(open_count(), before);
    });
    EXPECT_EQ(child.result(), 0);
}

/*
 * A reader that has fallen out of memory and may open nothing. Outcome: -ENOMEM ("or handles"), never a gap: when it may
 * open files again, it reads every record; one that would begin at the start is refused, not begun further on.
 */
TEST_F(Hostile, WithoutDescriptorsTheJournalIsAnErrorAndNoGap)
{
    ASSERT_EQ(create(RingOptions().with_journal().with_users(1, 2)), 0) << weir_last_error();
    auto weird = start_weird(bus_, disk_);
    Child child([&](const Line &) {
        Sub sub(bus_, "ring");
        Pub pub(bus_, "ring");
        ASSERT_TRUE(pub.error == 0 && sub.error == 0) << weir_last_error();
        constexpr int count = 200;
        for (int i = 0; i < count; i++)
            ASSERT_EQ(pub.send(std::to_string(i) + std::string(1000, 'x'), patience), 0) << weir_last_error();
        size_t count_open = open_count();
        for (rlim_t most = count_open; most < count_open + 8;
             most++) { /* enough for the ring, or for its journal too */
            limit(RLIMIT_NOFILE, most + 6);
            Sub start(bus_, "ring");
            limit(RLIMIT_NOFILE, 1024);
            ASSERT_TRUE(start.error == 0 || start.error == -EMFILE || start.error == -ENOMEM) << weir_last_error();
            ASSERT_TRUE(start.error < 0 || start.position() == 0) << most << " " << start.position();
        }
        int got = 0;
        for (int turn = 0; got < count; turn++) {
            ASSERT_LT(turn, 100 * count);
            limit(RLIMIT_NOFILE, turn % 3 != 2 ? 0 : 1024); /* four records make a segment */
            weir_message message;
            int r = sub.next(&message, turn % 2 ? 0 : ms);
            limit(RLIMIT_NOFILE, 1024);
            if (r == 0) {
                ASSERT_EQ(atoi(text_of(message).c_str()), got) << "lost";
                got++;
            } else {
                ASSERT_TRUE(r == -ENOMEM || r == -EAGAIN || r == -ETIMEDOUT) << r << ": " << weir_last_error();
            }
        }
    });
    EXPECT_EQ(child.result(), 0);
    weird->kill(SIGTERM);
    EXPECT_EQ(weird->result(), 0);
}

/*
 * weird with few descriptors. Outcome: it serves, or it ends with a reason; it neither crashes nor hangs, and rings stay
 * as they are: with enough it takes up everything.
 */
TEST_F(Hostile, WeirdWithFewDescriptorsServesOrSaysWhyNot)
{
    ASSERT_EQ(create(RingOptions().with_journal()), 0) << weir_last_error();
    Pub pub(bus_, "ring");
    uint64_t position = 0;
    for (rlim_t most : {3, 5, 7, 9, 11, 13, 15, 17, 20, 24, 32}) {
        ASSERT_EQ(pub.send("kept", 0, &position), 0) << weir_last_error();
        size_t said = text_of_file(disk_ + ".log").size();
        auto weird = start_weird(bus_, disk_, [&] { limit(RLIMIT_NOFILE, most); });
        EXPECT_TRUE(comes_true([&] {
            return weird->ended() || weir_pub_confirm(pub, position, WEIR_DURABLE) == 0 ||
                   text_of_file(disk_ + ".log").size() > said;
        })) << "with "
            << most;
        weird->kill(SIGTERM);
        int result = weird->result();
        EXPECT_TRUE(result == 0 || result == 1 || result == 127 || result == -SIGTERM) << result << " with " << most;
    }
    ASSERT_EQ(pub.send("kept", 0, &position), 0) << weir_last_error();
    auto weird = start_weird(bus_, disk_);
    EXPECT_EQ(weir_pub_wait(pub, position, WEIR_DURABLE, patience), 0)
        << weir_last_error() << text_of_file(disk_ + ".log");
    weird->kill(SIGTERM);
    EXPECT_EQ(weird->result(), 0);
}

/* RLIMIT_MEMLOCK of nothing, without the capability that overrides it. Outcome: nothing needs locked memory; all works. */
TEST_F(Hostile, WithoutLockedMemoryEverythingWorks)
{
    ASSERT_EQ(chmod(bus_.c_str(), 0777), 0);
    ASSERT_EQ(chmod(disk_.c_str(), 0777), 0);
    std::string journal = std::string(path("..")) + "/journal"; /* where another user may go */
    ASSERT_EQ(chmod(path("..").c_str(), 0777), 0);
    auto weak = [&] {
        limit(RLIMIT_MEMLOCK, 0);
        ASSERT_TRUE(!is_root() || become(nobody, nobody));
    };
    Child child([&](const Line &line) {
        weak();
        ASSERT_EQ(mkdir(journal.c_str(), 0755), 0) << strerror(errno);
        ASSERT_EQ(create(RingOptions().with_journal()), 0) << weir_last_error();
        Pub pub(bus_, "ring");
        Sub sub(bus_, "ring");
        ASSERT_TRUE(pub.error == 0 && sub.error == 0) << weir_last_error();
        line.say('r');
        uint64_t position = 0;
        for (int i = 0; i < 100; i++) {
            ASSERT_EQ(pub.send(std::string(1000, 'x'), patience, &position), 0) << weir_last_error();
            ASSERT_EQ(sub.text(patience).size(), 1000u) << weir_last_error();
        }
        ASSERT_EQ(weir_pub_wait(pub, position, WEIR_DURABLE, patience), 0) << weir_last_error();
    });
    ASSERT_EQ(child.line().hear(), 'r');
    auto weird = start_weird(bus_, journal, weak);
    EXPECT_EQ(child.result(), 0) << text_of_file(journal + ".log");
    weird->kill(SIGTERM);
    EXPECT_EQ(weird->result(), 0) << text_of_file(journal + ".log");
}

/* -- membarrier refused -------------------------------------------------------------------------------------------- */

/* From here on membarrier(2) is refused, as some containers do. */
bool refuse_membarrier()
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {std::size(program), program};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0 &&
           syscall(SYS_membarrier, 0, 0, 0) == -1;
}

class HostileBarrier : public Hostile, public testing::WithParamInterface<bool>
{
};

INSTANTIATE_TEST_SUITE_P(On, HostileBarrier, testing::Bool(),
                         [](const testing::TestParamInfo<bool> &info) { return info.param ? "Fenced" : "Plain"; });

/*
 * membarrier(2) refused by a seccomp filter, for each process that uses the ring. Outcome: attach, publish, read, sleep, wake
 * and roll over into reclaimed slots all work; a sleep is bounded more shortly, since its wake-up may be missed.
 */
TEST_P(HostileBarrier, RefusedIsNoObstacle)
{
    RingOptions options = RingOptions().with_policy(WEIR_DROP_OLD).with_users(2, 3);
    options.fenced = GetParam();
    ASSERT_EQ(create(options), 0) << weir_last_error();
    Child sleeper([&](const Line &line) {
        if (!refuse_membarrier()) {
            line.say('n');
            return;
        }
        Sub sub(bus_, "ring");
        ASSERT_EQ(sub.error, 0) << weir_last_error();
        line.say('r');
        EXPECT_EQ(sub.text(patience), "first") << weir_last_error();
        line.say('w');
        std::string text;
        while ((text = sub.text(patience)) == "[EPIPE]") {
        }
        EXPECT_EQ(text.size(), 3000u) << weir_last_error();
    });
    char word = sleeper.line().hear();
    if (word == 'n')
        GTEST_SKIP() << "a seccomp filter is not permitted here";
    ASSERT_EQ(word, 'r');
    ASSERT_TRUE(sleeper.wait_until_asleep());
    Child publisher([&](const Line &) {
        ASSERT_TRUE(refuse_membarrier());
        Pub pub(bus_, "ring");
        ASSERT_EQ(pub.error, 0) << weir_last_error();
        ASSERT_EQ(pub.send("first"), 0) << weir_last_error();
        for (uint32_t i = 0; i < 3 * info().slot_count; i++)
            ASSERT_EQ(pub.send(std::string(3000, 'x')), 0) << weir_last_error();
    });
    EXPECT_EQ(publisher.result(), 0);
    EXPECT_EQ(sleeper.line().hear(), 'w') << "asleep for ever";
    EXPECT_EQ(sleeper.result(), 0);
    EXPECT_EQ(faults(), std::vector<std::string>());
}

} // namespace
