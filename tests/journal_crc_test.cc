/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C on every path, the sums that stand in for it, and what a record's CRC ties down. */
// test: LINKS weir_journal weir_ringbuf

#include "tests/journal_support.hh"

using namespace journaltest;

namespace
{

struct Vector {
    Bytes data;
    uint32_t crc;
};

/* RFC 3720 B.4, and the check value that catalogues of CRCs give for "123456789". */
std::vector<Vector> vectors()
{
    Bytes rising(32), falling(32);
    for (uint8_t i = 0; i < 32; i++) {
        rising[i] = i;
        falling[i] = (uint8_t)(31 - i);
    }
    Bytes read_command = {0x01, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                          0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
                          0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
                          0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00};
    const char *digits = "123456789";
    return {{Bytes(32, 0), 0x8a9136aa},
            {Bytes(32, 0xff), 0x62a8ab43},
            {rising, 0x46dd794e},
            {falling, 0x113fdb5c},
            {read_command, 0xd9963a56},
            {Bytes(digits, digits + 9), 0xe3069283},
            {{}, 0}};
}

using Function = uint32_t (*)(uint32_t, const void *, size_t);

std::vector<Function> paths()
{
    std::vector<Function> paths = {journal_crc32c, journal_crc32c_table};
    if (journal_crc32c_has_hardware())
        paths.push_back(journal_crc32c_hardware);
    return paths;
}

/* Bit by bit, as the definition says. */
uint32_t plain_crc(uint32_t crc, const uint8_t *at, size_t bytes)
{
    crc = ~crc;
    for (; bytes > 0; bytes--, at++) {
        crc ^= *at;
        for (int i = 0; i < 8; i++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return ~crc;
}

TEST(JournalCrc, GivesThePublishedValuesOnEveryPath)
{
    for (Function crc : paths()) {
        for (const Vector &vector : vectors())
            EXPECT_EQ(crc(0, vector.data.data(), vector.data.size()), vector.crc);
    }
}

TEST(JournalCrc, IsTheSameOnEveryPathForEveryLengthAlignmentAndCut)
{
    std::mt19937_64 random(3);
    Bytes data(20000);
    for (uint8_t &byte : data)
        byte = (uint8_t)random();
    for (int i = 0; i < 3000; i++) {
        size_t from = random() % 64;
        size_t bytes = i < 1200 ? (size_t)i : random() % (data.size() - from);
        size_t cut = bytes ? random() % bytes : 0;
        uint32_t begun = (uint32_t)random();
        uint32_t expected = plain_crc(begun, data.data() + from, bytes);
        for (Function crc : paths()) {
            ASSERT_EQ(crc(begun, data.data() + from, bytes), expected) << bytes << " bytes at " << from;
            ASSERT_EQ(crc(crc(begun, data.data() + from, cut), data.data() + from + cut, bytes - cut), expected);
        }
    }
}

TEST(JournalCrc, SumsGiveTheCrcOfAnyStretch)
{
    std::mt19937_64 random(4);
    Bytes data(1 << 16);
    for (uint8_t &byte : data)
        byte = (uint8_t)random();
    struct journal_sums sums;
    uint64_t first = 5 * RING_UNIT_BYTES;
    ASSERT_EQ(journal_sums_init(&sums, data.data(), first, data.size()), 0);
    for (int i = 0; i < 3000; i++) {
        uint64_t from = first + random() % (data.size() - first);
        uint64_t to = from + random() % (data.size() - from + 1);
        uint32_t begun = (uint32_t)random();
        ASSERT_EQ(journal_sums_crc(&sums, begun, from, to), journal_crc32c(begun, data.data() + from, to - from));
    }
    journal_sums_free(&sums);
}

TEST(JournalSeal, MakesEachRecordCheckAtItsPlaceAndNowhereElse)
{
    struct journal_meta meta = make_meta();
    Log log;
    fill(log, 1);
    Bytes copy = log.sealed(meta, 0, log.end());
    for (const Record &record : log.all()) {
        const uint8_t *at = copy.data() + record.position;
        uint64_t head;
        uint32_t body_bytes, crc;
        memcpy(&head, at, 8);
        memcpy(&body_bytes, at + 8, 4);
        memcpy(&crc, at + 12, 4);
        EXPECT_EQ(head_owner(head), 0u);
        EXPECT_EQ(head_tag(head), record.tag);
        EXPECT_EQ(body_bytes, record.body.size());
        uint8_t other_ring[16] = {};
        const uint8_t *ring_id = meta.identity.ring_id;
        EXPECT_EQ(journal_record_crc(ring_id, 1, record.position, head, body_bytes, at + 16), crc);
        EXPECT_NE(journal_record_crc(ring_id, 2, record.position, head, body_bytes, at + 16), crc);
        EXPECT_NE(journal_record_crc(ring_id, 1, record.position + 64, head, body_bytes, at + 16), crc);
        EXPECT_NE(journal_record_crc(other_ring, 1, record.position, head, body_bytes, at + 16), crc);
    }
}

TEST(JournalSeal, CrcIsOverSeedHeadLengthAndBodyInThisOrder)
{
    struct journal_meta meta = make_meta();
    struct journal_seed seed = {};
    memcpy(seed.ring_id, meta.identity.ring_id, 16);
    seed.epoch = 7;
    seed.position = 0x123456780;
    uint64_t head = head_make(RING_READY, 0, 1, 9, 0);
    uint32_t body_bytes = 5;
    Bytes all((uint8_t *)&seed, (uint8_t *)(&seed + 1));
    all.insert(all.end(), (uint8_t *)&head, (uint8_t *)(&head + 1));
    all.insert(all.end(), (uint8_t *)&body_bytes, (uint8_t *)(&body_bytes + 1));
    uint32_t without_body = journal_crc32c(0, all.data(), all.size());
    for (char c : std::string("hello"))
        all.push_back((uint8_t)c);
    EXPECT_EQ(journal_record_crc(seed.ring_id, 7, seed.position, head | 0x3ffull << RING_HEAD_OWNER_SHIFT, 5, "hello"),
              journal_crc32c(0, all.data(), all.size()));
    uint64_t padding = head_make(RING_PADDING, 0, 1, 9, 0);
    all.resize(sizeof(seed) + 12);
    memcpy(all.data() + sizeof(seed), &padding, 8);
    EXPECT_EQ(journal_record_crc(seed.ring_id, 7, seed.position, padding, 5, nullptr),
              journal_crc32c(0, all.data(), all.size()));
    EXPECT_NE(without_body, 0u);
}

TEST(JournalSeal, TakesNothingToDiskThatIsNotPartOfARecord)
{
    struct journal_meta meta = make_meta();
    Log log;
    log.append("short", 1, 0, 3);
    log.pad(4);
    log.append("last");
    Bytes copy = log.sealed(meta, 0, log.end());
    for (const Record &record : log.all()) {
        for (uint64_t at = record.position + record.covered(); at < record.next; at++)
            ASSERT_EQ(copy[at], 0) << "at " << at;
    }
}

class SealRefuses : public ::testing::Test
{
protected:
    void SetUp() override
    {
        log_.append("first");
        log_.append("second", 2, 0, 2);
        log_.append("third");
    }

    /* Damages the head of the second record; sealing must stop right before it. */
    void expect_stop(uint64_t head, uint32_t body_bytes)
    {
        Bytes copy(log_.at(0), log_.at(0) + log_.end());
        memcpy(copy.data() + 64, &head, 8);
        memcpy(copy.data() + 72, &body_bytes, 4);
        Bytes before = copy;
        uint64_t reached = 99;
        EXPECT_EQ(journal_seal(&meta_, 0, copy.data(), copy.size(), &reached, nullptr, nullptr), -EBADMSG);
        EXPECT_EQ(reached, 64u);
        EXPECT_EQ(Bytes(copy.begin() + 64, copy.end()), Bytes(before.begin() + 64, before.end()));
    }

    struct journal_meta meta_ = make_meta();
    Log log_;
};

TEST_F(SealRefuses, WhatIsNotACommittedRecordThatFits)
{
    expect_stop(0, 0);
    expect_stop(head_make(RING_CLAIMED, 0, 2, 0, 1), 5);
    expect_stop(head_make(RING_READY, 0, 0, 0, 1), 0);
    expect_stop(head_make(RING_READY, 0, 4, 0, 1), 5);               /* beyond the copy */
    expect_stop(head_make(RING_READY, 0, RING_UNITS_MASK, 0, 1), 5); /* beyond everything */
    expect_stop(head_make(RING_PADDING, 0, 4, 0, 1), 5);
    expect_stop(head_make(RING_READY, 0, 2, 0, 1), 2 * 64 - 15);
    expect_stop(head_make(RING_READY, 0, 2, 0, 1), UINT32_MAX);
}

TEST_F(SealRefuses, ArgumentsThatAreNoStretchOfOneSegment)
{
    Bytes copy(log_.at(0), log_.at(0) + log_.end());
    uint64_t reached;
    EXPECT_EQ(journal_seal(&meta_, 1, copy.data(), 64, &reached, nullptr, nullptr), -EINVAL);
    EXPECT_EQ(journal_seal(&meta_, 0, copy.data(), 63, &reached, nullptr, nullptr), -EINVAL);
    EXPECT_EQ(journal_seal(&meta_, 4096 - 64, copy.data(), 128, &reached, nullptr, nullptr), -EINVAL);
    EXPECT_EQ(journal_seal(&meta_, 0, copy.data(), 0, &reached, nullptr, nullptr), 0);
    EXPECT_EQ(reached, 0u);
}

TEST_F(SealRefuses, NothingOfPaddingWhoseLengthOfBodyIsNonsense)
{
    Bytes copy(log_.at(0), log_.at(0) + log_.end());
    uint64_t head = head_make(RING_PADDING, 7, 2, 999, 1), reached;
    uint32_t body_bytes = UINT32_MAX;
    memcpy(copy.data() + 64, &head, 8);
    memcpy(copy.data() + 72, &body_bytes, 4);
    EXPECT_EQ(journal_seal(&meta_, 0, copy.data(), copy.size(), &reached, nullptr, nullptr), 0);
    EXPECT_EQ(reached, copy.size());
}

TEST(JournalSeal, CountsTheSequencesOfNamedPublishers)
{
    struct journal_meta meta = make_meta();
    Log log;
    struct ring_meta properties = {};
    properties.present = RING_HAS_SEQUENCE | RING_HAS_TIME;
    for (uint64_t i = 1; i <= 3; i++) {
        uint32_t bytes;
        properties.producer = 70 + i;
        properties.sequence = 1000 * i;
        ASSERT_EQ(ring_meta_bytes(&properties, &bytes), 0);
        std::string body(bytes, 0);
        ring_meta_put(&properties, (uint8_t *)body.data());
        log.append(body + "payload", 0, RING_FLAG_PROPERTIES);
        log.append("without");
        log.append("nonsense for properties", 0, RING_FLAG_PROPERTIES);
    }
    using Counts = std::vector<std::pair<uint64_t, uint64_t>>;
    Counts counts;
    Bytes copy(log.at(0), log.at(0) + log.end());
    uint64_t reached;
    ASSERT_EQ(journal_seal(
                  &meta, 0, copy.data(), copy.size(), &reached,
                  [](void *ctx, uint64_t producer, uint64_t sequence) {
                      ((Counts *)ctx)->push_back({producer, sequence});
                  },
                  &counts),
              0);
    EXPECT_EQ(counts, (Counts{{71, 1000}, {72, 2000}, {73, 3000}}));
}

} // namespace
