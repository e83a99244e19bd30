/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/lossy_store.h"

#include <algorithm>

LossyStore::LossyStore(uint64_t seed) : random_(seed), sector_(one_in(2) ? 512 : 4096)
{
    make(true, 0700, 0, 0);
}

bool LossyStore::one_in(uint64_t count)
{
    return random_() % count == 0;
}

LossyStore::Node *LossyStore::find(uint64_t id)
{
    auto found = nodes_.find(id);
    return found == nodes_.end() ? nullptr : found->second.get();
}

LossyStore::NodePtr LossyStore::make(bool directory, uint32_t mode, uint32_t uid, uint32_t gid)
{
    auto node = std::make_shared<Node>();
    node->id = next_id_++;
    node->directory = directory;
    node->mode = mode;
    node->uid = uid;
    node->gid = gid;
    nodes_[node->id] = node;
    return node;
}

/* -- Changes ------------------------------------------------------------------------------------------------------- */

namespace
{

void put(LossyStore::Bytes &to, uint64_t offset, const uint8_t *data, uint64_t bytes)
{
    if (to.size() < offset + bytes)
        to.resize(offset + bytes);
    std::copy(data, data + bytes, to.begin() + (long)offset);
}

void rename_in(LossyStore::Entries &entries, const LossyStore::Change &change)
{
    if (!change.removed.empty())
        entries.erase(change.removed);
    if (!change.added.empty())
        entries[change.added] = change.node;
}

} // namespace

void LossyStore::write(Node &file, uint64_t offset, const uint8_t *data, uint64_t bytes)
{
    put(file.bytes, offset, data, bytes);
    Change change;
    change.offset = offset;
    change.bytes.assign(data, data + bytes);
    file.changes.push_back(std::move(change));
}

void LossyStore::grow(Node &file, uint64_t size)
{
    if (size <= file.bytes.size())
        return;
    file.bytes.resize(size);
    Change change;
    change.kind = Change::GROW;
    change.offset = size;
    file.changes.push_back(std::move(change));
}

void LossyStore::cut(Node &file, uint64_t size)
{
    file.bytes.resize(size);
    Change change;
    change.kind = Change::CUT;
    change.offset = size;
    file.changes.push_back(std::move(change));
}

void LossyStore::name(Node &directory, const std::string &added, const std::string &removed, const NodePtr &node)
{
    Change change;
    change.kind = Change::NAME;
    change.added = added;
    change.removed = removed;
    change.node = node;
    rename_in(directory.entries, change);
    directory.changes.push_back(std::move(change));
}

/* -- Syncs, and power that goes ------------------------------------------------------------------------------------ */

void LossyStore::apply(Node &node, const Change &change) const
{
    switch (change.kind) {
    case Change::WRITE:
        put(node.bytes_on_disk, change.offset, change.bytes.data(), change.bytes.size());
        break;
    case Change::GROW:
        node.bytes_on_disk.resize(std::max<uint64_t>(node.bytes_on_disk.size(), change.offset));
        break;
    case Change::CUT:
        node.bytes_on_disk.resize(change.offset);
        break;
    case Change::NAME:
        rename_in(node.entries_on_disk, change);
        break;
    }
}

/* Sectors reach the disk in any order; none is torn in itself. */
void LossyStore::apply_part(Node &node, const Change &change)
{
    if (change.kind != Change::WRITE) {
        if (one_in(2))
            apply(node, change);
        return;
    }
    uint64_t end = change.offset + change.bytes.size();
    for (uint64_t at = change.offset, to; at < end; at = to) {
        to = std::min(end, (at / sector_ + 1) * sector_);
        if (one_in(2))
            put(node.bytes_on_disk, at, change.bytes.data() + (at - change.offset), to - at);
    }
}

void LossyStore::sync(Node &node)
{
    for (const Change &change : node.changes)
        apply(node, change);
    node.changes.clear();
}

void LossyStore::fail_sync(Node &file)
{
    settle(file);
}

/* Of what was not synced: nothing, all, or any part. Of names mostly the first ones. */
void LossyStore::settle(Node &node)
{
    uint64_t mood = random_() % 4;
    size_t first = random_() % (node.changes.size() + 1);
    for (size_t i = 0; mood != 0 && i < node.changes.size(); i++) {
        if (mood == 1 || (node.directory && i < first))
            apply(node, node.changes[i]);
        else if (!node.directory || one_in(8))
            apply_part(node, node.changes[i]);
    }
    node.changes.clear();
}

void LossyStore::adopt(const NodePtr &node)
{
    node->id = next_id_++;
    nodes_[node->id] = node;
    settle(*node);
    node->bytes = node->bytes_on_disk;
    node->entries = node->entries_on_disk;
    for (const auto &[name, child] : node->entries)
        adopt(child);
}

void LossyStore::lose_power()
{
    NodePtr root = nodes_[1];
    nodes_.clear();
    next_id_ = 1;
    adopt(root);
}
