/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's side of it is <linux/fuse.h>. One request at a time, in the order in which they come. The kernel keeps
 * no write back (no FUSE_WRITEBACK_CACHE), so each write is seen when it is made; locks are the kernel's own.
 */
#include "tests/support/lossy_server.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "tests/support/lossy_store.h"

namespace
{

constexpr uint32_t write_bytes_max = 1 << 20;
constexpr size_t held_bytes_min = 64 << 10;
constexpr uint64_t block_bytes = 4096, block_count = 1 << 18;

/* A request, and its parts behind the header as they come. */
class Request
{
public:
    Request(const uint8_t *bytes, size_t count)
    {
        memcpy(&header, bytes, sizeof header);
        at_ = bytes + sizeof header;
        end_ = bytes + count;
    }
    template <typename Part>
    Part take()
    {
        Part part = {};
        size_t bytes = std::min(sizeof part, (size_t)(end_ - at_));
        memcpy(&part, at_, bytes);
        at_ += bytes;
        return part;
    }
    std::string name()
    {
        std::string text((const char *)at_, strnlen((const char *)at_, (size_t)(end_ - at_)));
        at_ += std::min(text.size() + 1, (size_t)(end_ - at_));
        return text;
    }
    const uint8_t *data() const
    {
        return at_;
    }

    struct fuse_in_header header;

private:
    const uint8_t *at_, *end_;
};

class Server
{
public:
    Server(const std::string &path, uint64_t seed, bool allocates, LossyNews *news)
        : path_(path), allocates_(allocates), store_(seed), news_(news)
    {
    }

    void serve(int line)
    {
        std::vector<uint8_t> buffer(write_bytes_max + block_bytes);
        for (;;) {
            struct pollfd polled[2] = {{line, POLLIN, 0}, {device_, POLLIN, 0}};
            if (poll(polled, 2, -1) < 0)
                continue;
            if (polled[0].revents) {
                LossyOrder order;
                if (recv(line, &order, sizeof order, 0) != (ssize_t)sizeof order)
                    break;
                int result = obey(order);
                if (send(line, &result, sizeof result, MSG_NOSIGNAL) < 0)
                    break;
                continue;
            }
            ssize_t got = polled[1].revents ? read(device_, buffer.data(), buffer.size()) : 0;
            if (got < 0 && errno == ENODEV) {
                close(device_); /* it was taken down */
                device_ = -1;
            } else if (got > 0) {
                handle(buffer.data(), (size_t)got);
            }
        }
        unmount();
    }

private:
    using Node = LossyStore::Node;

    /* -- What the test wants --------------------------------------------------------------------------------------- */

    int obey(const LossyOrder &order)
    {
        switch (order.what) {
        case LOSSY_MOUNT:
            return mount();
        case LOSSY_LOSE_AT:
            changes_left_ = order.value;
            return 0;
        case LOSSY_LOSE:
            news_->lost = 1;
            return 0;
        case LOSSY_RESTORE:
            unmount();
            store_.lose_power();
            changes_left_ = 0;
            news_->lost = 0;
            return mount();
        case LOSSY_BREAK_SYNCS:
            break_one_in_ = order.value;
            return 0;
        case LOSSY_HOLD:
            holds_ = order.value != 0;
            return 0;
        case LOSSY_RELEASE:
            release_writes();
            return 0;
        }
        return EINVAL;
    }

    int mount()
    {
        char options[160];
        device_ = open("/dev/fuse", O_RDWR | O_CLOEXEC);
        if (device_ < 0)
            return errno;
        snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other",
                 device_);
        if (::mount("lossy", path_.c_str(), "fuse.lossy", MS_NOSUID | MS_NODEV, options) == 0)
            return 0;
        int error = errno;
        close(device_);
        device_ = -1;
        return error;
    }

    /* Whoever still waits for an answer gets an error. */
    void unmount()
    {
        umount2(path_.c_str(), MNT_DETACH);
        if (device_ >= 0)
            close(device_);
        device_ = -1;
        kept_.clear();
        news_->held = 0;
        listings_.clear();
    }

    void release_writes()
    {
        std::vector<std::vector<uint8_t>> kept;
        kept.swap(kept_);
        holds_ = false;
        for (const std::vector<uint8_t> &bytes : kept)
            handle(bytes.data(), bytes.size());
        news_->held = 0;
    }

    /* -- Answers --------------------------------------------------------------------------------------------------- */

    void answer(const Request &request, int error, const void *data = nullptr, size_t bytes = 0)
    {
        struct fuse_out_header header = {(uint32_t)(sizeof header + bytes), -error, request.header.unique};
        struct iovec parts[2] = {{&header, sizeof header}, {const_cast<void *>(data), bytes}};
        if (writev(device_, parts, bytes ? 2 : 1) < 0 && errno != ENOENT && errno != ENODEV)
            abort(); /* an answer that the kernel does not understand */
    }
    template <typename Part>
    void answer_with(const Request &request, const Part &part)
    {
        answer(request, 0, &part, sizeof part);
    }

    static struct fuse_attr attributes(const Node &node)
    {
        struct fuse_attr attr = {};
        attr.ino = node.id;
        attr.size = node.bytes.size();
        attr.blocks = (node.bytes.size() + 511) / 512;
        attr.mode = node.mode | (uint32_t)(node.directory ? S_IFDIR : S_IFREG);
        attr.nlink = 1;
        attr.uid = node.uid;
        attr.gid = node.gid;
        attr.blksize = block_bytes;
        return attr;
    }
    static struct fuse_entry_out entry(const Node &node)
    {
        struct fuse_entry_out out = {};
        out.nodeid = node.id;
        out.attr = attributes(node);
        return out;
    }

    /* -- Requests -------------------------------------------------------------------------------------------------- */

    static bool changes_something(uint32_t opcode)
    {
        switch (opcode) {
        case FUSE_WRITE:
        case FUSE_FALLOCATE:
        case FUSE_FSYNC:
        case FUSE_FSYNCDIR:
        case FUSE_CREATE:
        case FUSE_MKDIR:
        case FUSE_UNLINK:
        case FUSE_RMDIR:
        case FUSE_RENAME:
        case FUSE_RENAME2:
            return true;
        default:
            return false;
        }
    }

    static bool is_held(Request request, const uint8_t *end)
    {
        auto in = request.take<struct fuse_write_in>();
        return in.size >= held_bytes_min && std::any_of(request.data(), end, [](uint8_t byte) { return byte != 0; });
    }

    void handle(const uint8_t *bytes, size_t count)
    {
        Request request(bytes, count);
        uint32_t opcode = request.header.opcode;
        if (opcode == FUSE_INIT) {
            greet(request);
            return;
        }
        if (opcode == FUSE_FORGET || opcode == FUSE_BATCH_FORGET || opcode == FUSE_INTERRUPT)
            return; /* these have no answer */
        if (opcode == FUSE_WRITE && holds_ && is_held(request, bytes + count)) {
            kept_.emplace_back(bytes, bytes + count);
            news_->held = kept_.size();
            return;
        }
        if (changes_something(opcode) && !news_->lost && changes_left_ > 0 && --changes_left_ == 0)
            lose_power_in(request);
        Node *node = store_.find(request.header.nodeid);
        if (news_->lost)
            answer(request, EIO);
        else if (!node)
            answer(request, ESTALE);
        else
            handle_node(request, *node);
    }

    /* Of a write that was just being made, any part may be found. */
    void lose_power_in(Request request)
    {
        Node *node = store_.find(request.header.nodeid);
        if (request.header.opcode == FUSE_WRITE && node) {
            auto in = request.take<struct fuse_write_in>();
            store_.write(*node, in.offset, request.data(), in.size);
        }
        news_->lost = 1;
    }

    void greet(Request &request)
    {
        auto in = request.take<struct fuse_init_in>();
        struct fuse_init_out out = {};
        out.major = FUSE_KERNEL_VERSION;
        out.minor = std::min<uint32_t>(in.minor, FUSE_KERNEL_MINOR_VERSION);
        out.max_readahead = in.max_readahead;
        out.flags = in.flags & (FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_ASYNC_DIO);
        out.max_background = 12;
        out.congestion_threshold = 9;
        out.max_write = write_bytes_max;
        out.max_pages = (uint16_t)(write_bytes_max / block_bytes);
        out.time_gran = 1;
        answer_with(request, out);
    }

    void handle_node(Request &request, Node &node)
    {
        switch (request.header.opcode) {
        case FUSE_LOOKUP:
            look_up(request, node);
            break;
        case FUSE_GETATTR:
            answer_attributes(request, node);
            break;
        case FUSE_SETATTR:
            set_attributes(request, node);
            break;
        case FUSE_MKDIR: {
            auto in = request.take<struct fuse_mkdir_in>();
            make(request, node, true, in.mode);
            break;
        }
        case FUSE_CREATE: {
            auto in = request.take<struct fuse_create_in>();
            make(request, node, false, in.mode);
            break;
        }
        case FUSE_UNLINK:
        case FUSE_RMDIR:
            remove(request, node);
            break;
        case FUSE_RENAME: {
            auto in = request.take<struct fuse_rename_in>();
            rename(request, node, in.newdir, 0);
            break;
        }
        case FUSE_RENAME2: {
            auto in = request.take<struct fuse_rename2_in>();
            rename(request, node, in.newdir, in.flags);
            break;
        }
        case FUSE_OPEN:
            answer_with(request, fuse_open_out());
            break;
        case FUSE_READ:
            read_file(request, node);
            break;
        case FUSE_WRITE: {
            auto in = request.take<struct fuse_write_in>();
            store_.write(node, in.offset, request.data(), in.size);
            answer_with(request, fuse_write_out{in.size, 0});
            break;
        }
        case FUSE_FALLOCATE:
            allocate(request, node);
            break;
        case FUSE_FSYNC:
        case FUSE_FSYNCDIR:
            sync(request, node);
            break;
        case FUSE_OPENDIR:
            open_directory(request, node);
            break;
        case FUSE_READDIR:
            read_directory(request);
            break;
        case FUSE_STATFS: {
            struct fuse_statfs_out out = {};
            out.st.blocks = out.st.bfree = out.st.bavail = block_count;
            out.st.files = out.st.ffree = block_count;
            out.st.bsize = out.st.frsize = block_bytes;
            out.st.namelen = NAME_MAX;
            answer_with(request, out);
            break;
        }
        case FUSE_RELEASE:
        case FUSE_DESTROY:
            answer(request, 0);
            break;
        case FUSE_RELEASEDIR:
            listings_.erase(request.take<struct fuse_release_in>().fh);
            answer(request, 0);
            break;
        default:
            answer(request, ENOSYS);
        }
    }

    void look_up(Request &request, const Node &directory)
    {
        auto found = directory.entries.find(request.name());
        if (found == directory.entries.end())
            answer(request, ENOENT);
        else
            answer_with(request, entry(*found->second));
    }

    void answer_attributes(const Request &request, const Node &node)
    {
        struct fuse_attr_out out = {};
        out.attr = attributes(node);
        answer_with(request, out);
    }

    void set_attributes(Request &request, Node &node)
    {
        auto in = request.take<struct fuse_setattr_in>();
        if (in.valid & FATTR_MODE)
            node.mode = in.mode & 07777;
        if (in.valid & FATTR_UID)
            node.uid = in.uid;
        if (in.valid & FATTR_GID)
            node.gid = in.gid;
        if (in.valid & FATTR_SIZE)
            store_.cut(node, in.size);
        answer_attributes(request, node);
    }

    void make(Request &request, Node &directory, bool is_directory, uint32_t mode)
    {
        std::string name = request.name();
        if (directory.entries.count(name)) {
            answer(request, EEXIST);
            return;
        }
        auto node = store_.make(is_directory, mode & 07777, request.header.uid, request.header.gid);
        store_.name(directory, name, "", node);
        struct {
            struct fuse_entry_out entry;
            struct fuse_open_out open;
        } out = {entry(*node), {}};
        answer(request, 0, &out, is_directory ? sizeof out.entry : sizeof out);
    }

    void remove(Request &request, Node &directory)
    {
        std::string name = request.name();
        auto found = directory.entries.find(name);
        if (found == directory.entries.end()) {
            answer(request, ENOENT);
        } else if (!found->second->entries.empty()) {
            answer(request, ENOTEMPTY);
        } else {
            store_.name(directory, "", name, nullptr);
            answer(request, 0);
        }
    }

    /* Names move within one directory: from one to another the two halves of it could be lost apart. */
    void rename(Request &request, Node &directory, uint64_t to_directory, uint32_t flags)
    {
        std::string from = request.name(), to = request.name();
        auto found = directory.entries.find(from);
        if (to_directory != directory.id || (flags & ~(uint32_t)RENAME_NOREPLACE)) {
            answer(request, EINVAL);
        } else if (found == directory.entries.end()) {
            answer(request, ENOENT);
        } else if (directory.entries.count(to) && (flags || !directory.entries[to]->entries.empty())) {
            answer(request, flags ? EEXIST : ENOTEMPTY);
        } else {
            store_.name(directory, to, from, LossyStore::NodePtr(found->second));
            answer(request, 0);
        }
    }

    void read_file(Request &request, const Node &node)
    {
        auto in = request.take<struct fuse_read_in>();
        uint64_t from = std::min<uint64_t>(in.offset, node.bytes.size());
        answer(request, 0, node.bytes.data() + from, std::min<uint64_t>(in.size, node.bytes.size() - from));
    }

    void allocate(Request &request, Node &node)
    {
        auto in = request.take<struct fuse_fallocate_in>();
        if (!allocates_ || in.mode != 0) {
            answer(request, allocates_ ? EOPNOTSUPP : ENOSYS);
            return;
        }
        store_.grow(node, in.offset + in.length);
        answer(request, 0);
    }

    void sync(const Request &request, Node &node)
    {
        if (!node.directory && break_one_in_ && store_.one_in(break_one_in_)) {
            store_.fail_sync(node);
            news_->broken++;
            answer(request, EIO);
            return;
        }
        store_.sync(node);
        answer(request, 0);
    }

    /* As it is when it is opened: entries may go while it is read. */
    void open_directory(const Request &request, const Node &directory)
    {
        struct fuse_open_out out = {};
        out.fh = ++listing_;
        std::vector<uint8_t> &listing = listings_[out.fh];
        for (const auto &[name, node] : directory.entries) {
            struct fuse_dirent header = {};
            size_t bytes = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + name.size()), at = listing.size();
            header.ino = node->id;
            header.off = at + bytes;
            header.namelen = (uint32_t)name.size();
            header.type = node->directory ? S_IFDIR >> 12 : S_IFREG >> 12;
            listing.resize(at + bytes);
            memcpy(listing.data() + at, &header, FUSE_NAME_OFFSET);
            memcpy(listing.data() + at + FUSE_NAME_OFFSET, name.data(), name.size());
        }
        answer_with(request, out);
    }

    void read_directory(Request &request)
    {
        auto in = request.take<struct fuse_read_in>();
        const std::vector<uint8_t> &listing = listings_[in.fh];
        uint64_t from = std::min<uint64_t>(in.offset, listing.size()), to = from;
        struct fuse_dirent header;
        while (to < listing.size()) {
            memcpy(&header, listing.data() + to, FUSE_NAME_OFFSET);
            if (header.off - from > in.size)
                break;
            to = header.off;
        }
        answer(request, 0, listing.data() + from, to - from);
    }

    std::string path_;
    bool allocates_;
    LossyStore store_;
    LossyNews *news_;
    int device_ = -1;
    uint64_t changes_left_ = 0, break_one_in_ = 0, listing_ = 0;
    bool holds_ = false;
    std::vector<std::vector<uint8_t>> kept_;
    std::map<uint64_t, std::vector<uint8_t>> listings_;
};

} // namespace

void lossy_serve(const std::string &path, uint64_t seed, bool allocates, LossyNews *news, int line)
{
    Server(path, seed, allocates, news).serve(line);
}
