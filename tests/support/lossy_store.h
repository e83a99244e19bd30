/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files and directories of a disk that can lose power: of each, what was synced and what was only changed since. When
 * the power goes, all that was synced stays, and of the rest any part: bytes in sectors of 512 or 4096 bytes and in any
 * order, names each by itself. Owners and modes are taken to be on the disk at once.
 */
#ifndef WEIR_TESTS_SUPPORT_LOSSY_STORE_H
#define WEIR_TESTS_SUPPORT_LOSSY_STORE_H

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

class LossyStore
{
public:
    struct Node;
    using NodePtr = std::shared_ptr<Node>;
    using Entries = std::map<std::string, NodePtr>;
    using Bytes = std::vector<uint8_t>;

    /* Not synced yet: bytes written, a size grown to or cut down to, or a name added, removed, or both. */
    struct Change {
        enum { WRITE, GROW, CUT, NAME } kind = WRITE;
        uint64_t offset = 0; /* or the size */
        Bytes bytes;
        std::string added, removed;
        NodePtr node;
    };

    struct Node {
        uint64_t id = 0;
        bool directory = false;
        uint32_t mode = 0, uid = 0, gid = 0;
        Bytes bytes, bytes_on_disk;
        Entries entries, entries_on_disk;
        std::vector<Change> changes;
    };

    explicit LossyStore(uint64_t seed);

    Node *find(uint64_t id); /* nullptr: there is none */
    NodePtr make(bool directory, uint32_t mode, uint32_t uid, uint32_t gid);

    void write(Node &file, uint64_t offset, const uint8_t *data, uint64_t bytes);
    void grow(Node &file, uint64_t size);
    void cut(Node &file, uint64_t size);
    /* Either name may be "". */
    void name(Node &directory, const std::string &added, const std::string &removed, const NodePtr &node);
    void sync(Node &node);
    /*
     * A sync that fails, as kernels have it: programs go on seeing what they wrote, which counts as clean, and any part
     * of it is not on the disk and never will be.
     */
    void fail_sync(Node &file);
    /* What is left is what there is. Numbers of files are given out anew; the root is 1. */
    void lose_power();

    bool one_in(uint64_t count);

private:
    void apply(Node &node, const Change &change) const;
    void apply_part(Node &node, const Change &change);
    void settle(Node &node);
    void adopt(const NodePtr &node);

    std::mt19937_64 random_;
    uint64_t sector_, next_id_ = 1;
    std::map<uint64_t, NodePtr> nodes_;
};

#endif
