/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of journal/: a directory of journals of their own, records made by hand as a ring would hold them, and what
 * a reader finds of them.
 */
#ifndef WEIR_TESTS_JOURNAL_SUPPORT_HH
#define WEIR_TESTS_JOURNAL_SUPPORT_HH

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <gtest/gtest.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
extern "C" {
#include "journal/crc.h"
#include "journal/io.h"
#include "journal/journal.h"
#include "journal/ledger.h"
#include "journal/segment.h"
#include "journal/sums.h"
#include "ringbuf/words.h"
}
#pragma GCC diagnostic pop

namespace journaltest
{

/* -- Files -------------------------------------------------------------------------------------------------- */

/* A directory that goes with the object. */
class Scratch
{
public:
    enum Where { DISK, MEMORY }; /* MEMORY: where syncs cost nothing, for tests that make thousands */

    explicit Scratch(Where where = DISK)
    {
        const char *parent = getenv(where == DISK ? "WEIR_TEST_DIR" : "WEIR_BUS");
        if (!parent)
            parent = where == DISK ? "/tmp" : "/dev/shm";
        path_ = std::string(parent) + "/weir-journal-XXXXXX";
        if (!mkdtemp(path_.data()))
            path_.clear();
        fd_ = open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    Scratch(const Scratch &) = delete;
    Scratch &operator=(const Scratch &) = delete;
    ~Scratch()
    {
        empty(fd_);
        close(fd_);
        rmdir(path_.c_str());
    }

    int fd() const
    {
        return fd_;
    }
    const std::string &path() const
    {
        return path_;
    }

    static void empty(int fd)
    {
        for (const std::string &name : names_in(fd)) {
            if (unlinkat(fd, name.c_str(), 0) == 0)
                continue;
            int inner = openat(fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (inner < 0)
                continue;
            empty(inner);
            close(inner);
            unlinkat(fd, name.c_str(), AT_REMOVEDIR);
        }
    }

    static std::vector<std::string> names_in(int fd)
    {
        std::vector<std::string> names;
        DIR *directory = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        if (!directory)
            return names;
        while (const struct dirent *entry = readdir(directory)) {
            if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                names.push_back(entry->d_name);
        }
        closedir(directory);
        return names;
    }

private:
    std::string path_;
    int fd_;
};

using Bytes = std::vector<uint8_t>;

inline Bytes read_file(int dir_fd, const std::string &name)
{
    Bytes bytes;
    int fd = openat(dir_fd, name.c_str(), O_RDONLY | O_CLOEXEC);
    EXPECT_GE(fd, 0) << name << ": " << strerror(errno);
    struct stat st = {};
    if (fd >= 0 && fstat(fd, &st) == 0) {
        bytes.resize((size_t)st.st_size);
        EXPECT_EQ(pread(fd, bytes.data(), bytes.size(), 0), (ssize_t)bytes.size());
    }
    close(fd);
    return bytes;
}

inline void write_file(int dir_fd, const std::string &name, const Bytes &bytes)
{
    int fd = openat(dir_fd, name.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    EXPECT_GE(fd, 0) << name << ": " << strerror(errno);
    EXPECT_EQ(pwrite(fd, bytes.data(), bytes.size(), 0), (ssize_t)bytes.size());
    close(fd);
}

inline void patch_file(int dir_fd, const std::string &name, uint64_t offset, const void *data, size_t bytes)
{
    int fd = openat(dir_fd, name.c_str(), O_RDWR | O_CLOEXEC);
    EXPECT_GE(fd, 0) << name << ": " << strerror(errno);
    EXPECT_EQ(pwrite(fd, data, bytes, (off_t)offset), (ssize_t)bytes);
    close(fd);
}

inline void cut_file(int dir_fd, const std::string &name, uint64_t bytes)
{
    int fd = openat(dir_fd, name.c_str(), O_RDWR | O_CLOEXEC);
    EXPECT_EQ(ftruncate(fd, (off_t)bytes), 0) << name << ": " << strerror(errno);
    close(fd);
}

inline size_t open_descriptors()
{
    int fd = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    size_t count = Scratch::names_in(fd).size();
    close(fd);
    return count;
}

inline std::string segment_file(uint64_t segment)
{
    char name[JOURNAL_SEGMENT_NAME_BYTES];
    journal_segment_name(segment, name);
    return name;
}

/* -- A ring's records ----------------------------------------------------------------------------------------- */

constexpr uint32_t small_shift = RING_SEGMENT_SHIFT_MIN;

inline struct journal_meta make_meta(const char *name = "ring", uint32_t shift = small_shift, uint64_t start = 0)
{
    struct journal_meta meta = {};

    meta.geometry.flags = RING_JOURNALED;
    meta.geometry.segment_shift = shift;
    meta.geometry.max_publishers = 2;
    meta.geometry.max_readers = 3;
    meta.geometry.max_producers = 4;
    meta.geometry.max_cursors = 5;
    meta.geometry.memory_limit_bytes = 1 << 20;
    strncpy(meta.identity.name, name, sizeof(meta.identity.name) - 1);
    for (uint8_t i = 0; i < 16; i++)
        meta.identity.ring_id[i] = (uint8_t)(i * 17 + 1);
    meta.identity.created_ns = 123456789;
    meta.identity.epoch = 1;
    meta.identity.start = start;
    meta.mode = 0600;
    meta.uid = geteuid();
    meta.gid = getegid();
    meta.lease = start + (1 << 20);
    meta.durable = start;
    return meta;
}

struct Record {
    uint64_t position = 0, next = 0;
    bool padding = false;
    std::string body;
    uint16_t tag = 0;
    uint32_t flags = 0;

    /* Bytes that its CRC covers, header included. */
    uint64_t covered() const
    {
        return sizeof(struct ring_record) + (padding ? 0 : body.size());
    }
    bool operator==(const Record &other) const
    {
        return position == other.position && next == other.next && padding == other.padding && body == other.body &&
               tag == other.tag && flags == other.flags;
    }
};

inline std::ostream &operator<<(std::ostream &out, const Record &record)
{
    return out << (record.padding ? "padding" : "record") << " [" << record.position << ", " << record.next << ") of "
               << record.body.size() << " bytes";
}

/* The memory of a ring from `start` on, with no slots to reuse: what the drain would copy. */
class Log
{
public:
    explicit Log(uint64_t start = 0, uint32_t shift = small_shift) : shift_(shift), start_(start), end_(start)
    {
    }

    /* As publishers do: what does not fit into the segment makes its rest padding. `units`: more than the body takes. */
    const Record &append(const std::string &body, uint16_t tag = 0, uint32_t flags = 0, uint32_t units = 0)
    {
        uint64_t bytes =
            (body.size() + sizeof(struct ring_record) + RING_UNIT_BYTES - 1) & ~(uint64_t)(RING_UNIT_BYTES - 1);
        if (units != 0)
            bytes = (uint64_t)units * RING_UNIT_BYTES;
        if (room() < bytes)
            pad();
        return put(bytes, RING_READY, body, tag, flags);
    }

    /* The rest of the segment, or of so many units; in memory anything may stand in it. */
    const Record &pad(uint32_t units = 0)
    {
        uint64_t bytes = units ? std::min((uint64_t)units * RING_UNIT_BYTES, room()) : room();
        return put(bytes, RING_PADDING, std::string(bytes - sizeof(struct ring_record), 'p'), 77, 3);
    }

    uint64_t end() const
    {
        return end_;
    }
    uint64_t start() const
    {
        return start_;
    }
    const std::vector<Record> &all() const
    {
        return all_;
    }
    /* Those that a reader gets between two positions. */
    std::vector<Record> records(uint64_t from = 0, uint64_t to = UINT64_MAX) const
    {
        std::vector<Record> found;
        for (const Record &record : all_) {
            if (!record.padding && record.position >= from && record.next <= to)
                found.push_back(record);
        }
        return found;
    }
    uint8_t *at(uint64_t position)
    {
        Bytes &bytes = segments_[position >> shift_];
        bytes.resize(segment_bytes());
        return bytes.data() + (position & (segment_bytes() - 1));
    }
    uint64_t segment_bytes() const
    {
        return (uint64_t)1 << shift_;
    }

    /* What the drain does with [from, to): copy, seal, write, a segment at a time. */
    int write(struct journal_writer *writer, const struct journal_meta &meta, uint64_t from, uint64_t to)
    {
        while (from < to) {
            uint64_t bytes = std::min(to - from, segment_bytes() - (from & (segment_bytes() - 1)));
            Bytes copy = sealed(meta, from, bytes);
            int result = journal_write(writer, from, copy.data(), bytes);
            if (result < 0)
                return result;
            from += bytes;
        }
        return 0;
    }

    Bytes sealed(const struct journal_meta &meta, uint64_t from, uint64_t bytes)
    {
        const uint8_t *memory = at(from);
        Bytes copy(memory, memory + bytes);
        uint64_t reached = 0;
        EXPECT_EQ(journal_seal(&meta, from, copy.data(), bytes, &reached, nullptr, nullptr), 0);
        EXPECT_EQ(reached, bytes);
        return copy;
    }

private:
    uint64_t room() const
    {
        return segment_bytes() - (end_ & (segment_bytes() - 1));
    }

    const Record &put(uint64_t bytes, enum ring_record_state state, const std::string &body, uint16_t tag,
                      uint32_t flags)
    {
        uint8_t *to = at(end_);
        uint64_t head = head_make(state, flags, (uint32_t)(bytes / RING_UNIT_BYTES), tag, owner_make(5, end_));
        uint32_t body_bytes = (uint32_t)body.size(), crc = 0xdeadbeef;
        memset(to, 's', bytes);
        memcpy(to, &head, 8);
        memcpy(to + 8, &body_bytes, 4);
        memcpy(to + 12, &crc, 4);
        memcpy(to + sizeof(struct ring_record), body.data(), body.size());
        Record record;
        record.position = end_;
        record.next = end_ + bytes;
        record.padding = state == RING_PADDING;
        record.body = record.padding ? "" : body;
        record.tag = record.padding ? 0 : tag;
        record.flags = record.padding ? 0 : flags;
        all_.push_back(record);
        end_ += bytes;
        return all_.back();
    }

    uint32_t shift_;
    uint64_t start_, end_;
    std::map<uint64_t, Bytes> segments_;
    std::vector<Record> all_;
};

inline std::string pattern(uint64_t number, size_t bytes)
{
    std::string text(bytes, 0);
    std::mt19937_64 random(number + 1);
    for (char &c : text)
        c = (char)random();
    return text;
}

/* Records of all sorts of lengths, until `segments` segments are full but for a few units. */
inline void fill(Log &log, unsigned segments, uint64_t seed = 1)
{
    std::mt19937_64 random(seed);
    uint64_t to = log.end() + segments * log.segment_bytes() - log.segment_bytes() / 8;

    for (uint64_t i = 0; log.end() < to; i++) {
        if (random() % 16 == 0) {
            log.pad(1 + (uint32_t)(random() % 2));
            if ((log.end() & (log.segment_bytes() - 1)) == 0)
                continue;
        }
        uint32_t units = random() % 8 == 0 ? 4 : 0;
        log.append(pattern(seed * 1000 + i, units ? random() % 100 : random() % 300), (uint16_t)random(),
                   random() % 4 == 0 ? 4u : 0u, units);
    }
}

/* -- What a reader finds -------------------------------------------------------------------------------------------- */

using Range = std::pair<uint64_t, uint64_t>;

struct Found {
    std::vector<Record> records;
    std::vector<Range> damaged; /* adjacent ones joined; segments without a file among them */
    int error = 0;              /* what stopped it, if not the end */
};

inline Record record_of(const struct ring_item &item)
{
    Record record;
    record.position = item.position;
    record.next = item.next;
    record.body.assign((const char *)item.body, item.body_bytes);
    record.tag = item.tag;
    record.flags = item.flags;
    return record;
}

/* As a subscriber reads: from a position to the limit, past everything that is wrong. */
inline Found read_journal(int folder_fd, const struct journal_meta &meta, uint64_t from, uint64_t limit)
{
    Found found;
    struct journal_reader *reader = nullptr;
    found.error = journal_reader_open(folder_fd, meta.identity.ring_id, journal_shift(&meta), &reader);
    if (found.error < 0)
        return found;
    int result = journal_reader_seek(reader, from);
    uint64_t at = from;
    for (;;) {
        struct ring_item item;
        result = result < 0 ? result : journal_reader_next(reader, limit, &item);
        if (result == 1) {
            found.records.push_back(record_of(item));
            continue;
        }
        at = result == -ENOENT && found.records.empty() && found.damaged.empty() ? from
                                                                                 : journal_reader_position(reader);
        uint64_t to = at, segment;
        if (result == -EBADMSG) {
            to = journal_reader_resync(reader, limit);
        } else if (result == -ENOENT) {
            if (journal_oldest_segment(folder_fd, at >> journal_shift(&meta), &segment) < 0)
                break;
            to = std::min(limit, segment << journal_shift(&meta));
        } else {
            break;
        }
        if (to <= at) {
            ADD_FAILURE() << "no way on from " << at;
            break;
        }
        if (!found.damaged.empty() && found.damaged.back().second == at)
            found.damaged.back().second = to;
        else
            found.damaged.push_back({at, to});
        if (to >= limit)
            break;
        result = result == -ENOENT ? journal_reader_seek(reader, to) : 0;
    }
    found.error = result == -ENOENT || result == -EBADMSG ? 0 : result;
    journal_reader_close(reader);
    return found;
}

inline std::vector<struct journal_gap> gaps_of(int folder_fd)
{
    std::vector<struct journal_gap> gaps;
    EXPECT_EQ(journal_gaps(
                  folder_fd,
                  [](void *ctx, const struct journal_gap *gap) {
                      ((std::vector<struct journal_gap> *)ctx)->push_back(*gap);
                      return 0;
                  },
                  &gaps),
              0);
    return gaps;
}

inline std::vector<Range> ranges_of(int folder_fd, uint32_t reason)
{
    std::vector<Range> ranges;
    for (const struct journal_gap &gap : gaps_of(folder_fd)) {
        if (gap.reason == reason)
            ranges.push_back({gap.from, gap.to});
    }
    return ranges;
}

/* -- A journal to work on ------------------------------------------------------------------------------------------- */

class JournalTest : public ::testing::Test
{
protected:
    explicit JournalTest(Scratch::Where where = Scratch::DISK) : scratch_(where)
    {
    }

    void TearDown() override
    {
        jio_hooks = nullptr;
        close_writer();
        if (folder_fd_ >= 0)
            close(folder_fd_);
        folder_fd_ = -1;
    }

    void create(const struct journal_meta &meta)
    {
        meta_ = meta;
        ASSERT_EQ(journal_create(scratch_.fd(), &meta), 0);
        folder_fd_ = openat(scratch_.fd(), meta.identity.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        ASSERT_GE(folder_fd_, 0);
    }

    int open_writer()
    {
        return journal_open(scratch_.fd(), meta_.identity.name, &writer_, &meta_);
    }

    void close_writer()
    {
        journal_close(writer_);
        writer_ = nullptr;
    }

    /* Creates, writes all of the log and syncs it. */
    void make(Log &log, const struct journal_meta &meta)
    {
        create(meta);
        ASSERT_EQ(open_writer(), 0);
        ASSERT_EQ(log.write(writer_, meta_, log.start(), log.end()), 0);
        ASSERT_EQ(journal_sync(writer_), 0);
    }

    int recover(uint64_t *recovered, uint64_t count_from = UINT64_MAX)
    {
        return journal_recover(writer_, count_from, UINT64_MAX, nullptr, nullptr, recovered);
    }

    Scratch scratch_;
    struct journal_meta meta_ = make_meta();
    struct journal_writer *writer_ = nullptr;
    int folder_fd_ = -1;
};

} // namespace journaltest

#endif
