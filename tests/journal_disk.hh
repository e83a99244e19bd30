/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that can lose power. It follows every system call of the journal, and knows of each file and directory what was
 * synced and what was only written since. When the power goes, it makes a directory that holds what could be found
 * afterwards: all that was synced, and of the rest any part, in any order, in pieces of a sector of 512 or 4096 bytes.
 */
#ifndef WEIR_TESTS_JOURNAL_DISK_HH
#define WEIR_TESTS_JOURNAL_DISK_HH

#include "tests/journal_support.hh"

#include <memory>

namespace journaltest
{

class Disk
{
public:
    /* What is in the directory now counts as being on the disk. Installs itself as the journal's hooks. */
    Disk(int root_fd, uint64_t seed) : random_(seed), sector_(toss() ? 512 : 4096)
    {
        root_ = load(root_fd);
        nodes_[root_fd] = root_;
        hooks_ = {before, after, this};
        jio_hooks = &hooks_;
    }
    Disk(const Disk &) = delete;
    Disk &operator=(const Disk &) = delete;
    ~Disk()
    {
        unplug();
    }

    /* At the n-th call from now on the power goes: that call and all later ones fail. 0: it does not. */
    void lose_power_at(uint64_t n)
    {
        calls_left_ = n;
    }
    /*
     * One sync in so many fails. The kernel then has what was written, calls it clean, and never writes it out: programs
     * can read it, later syncs succeed without it, and it is gone with the power.
     */
    void break_syncs(uint64_t one_in)
    {
        break_one_in_ = one_in;
    }
    bool lost_power() const
    {
        return lost_;
    }
    /* From now on calls are the file system's own again. */
    void unplug()
    {
        if (jio_hooks == &hooks_)
            jio_hooks = nullptr;
    }
    /* What is found when power is back. Different each time it is asked. */
    void make_remains(int fd)
    {
        make_directory(*root_, fd);
    }

private:
    struct Node;
    using Entries = std::map<std::string, std::shared_ptr<Node>>;

    /* A change that was made and not synced: to a file's bytes or size, or to a directory's entries. */
    struct Change {
        uint64_t offset = 0;
        Bytes bytes;                /* written at offset */
        uint64_t size = 0;          /* allocated */
        std::string added, removed; /* names; both: a rename */
        std::shared_ptr<Node> node;
    };

    struct Node {
        bool directory = false;
        Bytes bytes;     /* file: on the disk */
        Entries entries; /* directory: on the disk */
        Entries current; /* directory: as programs see it */
        std::vector<Change> changes;
    };

    static std::shared_ptr<Node> load(int fd)
    {
        auto node = std::make_shared<Node>();
        node->directory = true;
        for (const std::string &name : Scratch::names_in(fd)) {
            int inner = openat(fd, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
            struct stat st = {};
            fstat(inner, &st);
            if (S_ISDIR(st.st_mode)) {
                node->entries[name] = load(inner);
            } else {
                node->entries[name] = std::make_shared<Node>();
                node->entries[name]->bytes = read_file(fd, name);
            }
            close(inner);
        }
        node->current = node->entries;
        return node;
    }

    /* -- What a change leaves ----------------------------------------------------------------------------------- */

    static void put(Bytes &to, uint64_t offset, const uint8_t *data, uint64_t bytes)
    {
        if (to.size() < offset + bytes)
            to.resize(offset + bytes);
        std::copy(data, data + bytes, to.begin() + (long)offset);
    }

    static void apply(Node &node, const Change &change)
    {
        if (node.directory)
            apply_entry(node.entries, change);
        else if (change.size > 0)
            node.bytes.resize(std::max<uint64_t>(node.bytes.size(), change.size));
        else
            put(node.bytes, change.offset, change.bytes.data(), change.bytes.size());
    }

    static void apply_entry(Entries &entries, const Change &change)
    {
        if (!change.removed.empty())
            entries.erase(change.removed);
        if (!change.added.empty())
            entries[change.added] = change.node;
    }

    bool toss()
    {
        return random_() % 2;
    }

    /* Sectors reach the disk in any order; none is torn in itself. */
    void apply_some_sectors(Bytes &bytes, const Change &change)
    {
        uint64_t end = change.offset + change.bytes.size();
        for (uint64_t at = change.offset; at < end;) {
            uint64_t to = std::min(end, (at / sector_ + 1) * sector_);
            if (toss())
                put(bytes, at, change.bytes.data() + (at - change.offset), to - at);
            at = to;
        }
    }

    Bytes remains_of(const Node &node)
    {
        Bytes bytes = node.bytes;
        int mood = (int)(random_() % 4); /* nothing more, all of it, or any part */
        for (const Change &change : node.changes) {
            if (mood == 0)
                break;
            if (change.size > 0 && (mood == 1 || toss()))
                bytes.resize(std::max<uint64_t>(bytes.size(), change.size));
            else if (change.size == 0 && mood == 1)
                put(bytes, change.offset, change.bytes.data(), change.bytes.size());
            else if (change.size == 0)
                apply_some_sectors(bytes, change);
        }
        return bytes;
    }

    Entries remaining_entries(const Node &node)
    {
        Entries entries = node.entries;
        size_t first = node.changes.empty() ? 0 : random_() % (node.changes.size() + 1);
        for (size_t i = 0; i < node.changes.size(); i++) {
            if (i < first || random_() % 8 == 0)
                apply_entry(entries, node.changes[i]);
        }
        return entries;
    }

    void make_directory(const Node &node, int fd)
    {
        for (const auto &[name, child] : remaining_entries(node)) {
            if (!child->directory) {
                write_file(fd, name, remains_of(*child));
                continue;
            }
            mkdirat(fd, name.c_str(), 0700);
            int inner = openat(fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            make_directory(*child, inner);
            close(inner);
        }
    }

    /* -- Following the calls ------------------------------------------------------------------------------------- */

    static int64_t before(void *ctx, const struct jio_event *event)
    {
        Disk *disk = (Disk *)ctx;
        if (event->call == JIO_CLOSE)
            return 0;
        if (disk->calls_left_ > 0 && --disk->calls_left_ == 0)
            disk->lost_ = true;
        if (disk->lost_)
            return -EIO;
        bool sync = event->call == JIO_SYNC || event->call == JIO_SYNC_DATA;
        if (!sync || disk->break_one_in_ == 0 || disk->random_() % disk->break_one_in_ != 0)
            return 0;
        disk->drop_changes(*disk->nodes_[event->fd]);
        return -EIO;
    }

    void drop_changes(Node &node)
    {
        if (node.directory)
            node.entries = remaining_entries(node);
        else
            node.bytes = remains_of(node);
        /* Entries of directories are another matter: a later sync brings them. */
        if (!node.directory)
            node.changes.clear();
    }

    static void after(void *ctx, const struct jio_event *event, int64_t result)
    {
        Disk *disk = (Disk *)ctx;
        if (event->call == JIO_CLOSE)
            disk->nodes_.erase(event->fd);
        else if (result >= 0 && !disk->lost_)
            disk->follow(*event, result);
    }

    void follow(const struct jio_event &event, int64_t result)
    {
        std::shared_ptr<Node> node = nodes_[event.fd];
        if (!node) {
            ADD_FAILURE() << "a call on a descriptor that nobody opened: " << event.call;
            return;
        }
        switch (event.call) {
        case JIO_OPEN:
            nodes_[(int)result] = open_node(*node, event.name);
            break;
        case JIO_DUPLICATE:
            nodes_[(int)result] = node;
            break;
        case JIO_WRITE:
            write(*node, event, (uint64_t)result);
            break;
        case JIO_ALLOCATE: {
            Change change;
            change.size = event.offset + event.bytes;
            node->changes.push_back(change);
            break;
        }
        case JIO_SYNC:
        case JIO_SYNC_DATA:
            for (const Change &change : node->changes)
                apply(*node, change);
            node->changes.clear();
            break;
        case JIO_RENAME:
            if (node != nodes_[event.to_fd])
                ADD_FAILURE() << "a rename from one directory to another";
            change_entry(*node, event.to_name, event.name, node->current[event.name]);
            break;
        case JIO_UNLINK:
        case JIO_REMOVE_DIRECTORY:
            change_entry(*node, "", event.name, nullptr);
            break;
        case JIO_MAKE_DIRECTORY: {
            auto made = std::make_shared<Node>();
            made->directory = true;
            change_entry(*node, event.name, "", made);
            break;
        }
        default:
            break;
        }
    }

    std::shared_ptr<Node> open_node(Node &folder, const char *name)
    {
        if (strcmp(name, ".") == 0) {
            for (auto &[fd, node] : nodes_) {
                if (node.get() == &folder)
                    return node;
            }
        }
        if (!folder.current.count(name))
            change_entry(folder, name, "", std::make_shared<Node>());
        return folder.current[name];
    }

    void write(Node &node, const struct jio_event &event, uint64_t bytes)
    {
        Change change;
        change.offset = event.offset;
        change.bytes.assign((const uint8_t *)event.data, (const uint8_t *)event.data + bytes);
        node.changes.push_back(change);
    }

    void change_entry(Node &folder, const std::string &added, const std::string &removed, std::shared_ptr<Node> node)
    {
        Change change;
        change.added = added;
        change.removed = removed;
        change.node = std::move(node);
        apply_entry(folder.current, change);
        folder.changes.push_back(change);
    }

    std::mt19937_64 random_;
    uint64_t sector_;
    std::shared_ptr<Node> root_;
    std::map<int, std::shared_ptr<Node>> nodes_;
    struct jio_hooks hooks_;
    uint64_t calls_left_ = 0, break_one_in_ = 0;
    bool lost_ = false;
};

} // namespace journaltest

#endif
