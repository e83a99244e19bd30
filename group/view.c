/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes, formatting, and the checks that stand between untrusted bytes and a view. */
#include <errno.h>
#include <string.h>

#include "group/internal.h"

#define PAGE_BYTES 4096u

static uint64_t whole_pages(uint64_t bytes)
{
    return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

static int refuse(const char **ret_reason, const char *reason, int error)
{
    *ret_reason = reason;
    return error;
}

int group_options_check(const struct group_options *options, const char **ret_reason)
{
    if (options->entry_count < 1 || options->entry_count > GROUP_ENTRIES_MAX)
        return refuse(ret_reason, "entries must be 1 to 16383", -EINVAL);
    if (options->worker_count < 1 || options->worker_count > GROUP_WORKERS_MAX)
        return refuse(ret_reason, "workers must be 1 to 1022", -EINVAL);
    if (options->lease_ns == 0)
        return refuse(ret_reason, "a lease must be longer than nothing", -EINVAL);
    if (options->jitter_percent > 100)
        return refuse(ret_reason, "jitter must be 0 to 100 percent", -EINVAL);
    if (options->backoff_percent < 100 || options->backoff_percent > 10000)
        return refuse(ret_reason, "the back-off's factor must be 100 to 10000 percent", -EINVAL);
    if (options->backoff_ns > INT64_MAX || options->backoff_max_ns > INT64_MAX)
        return refuse(ret_reason, "the back-off is longer than time", -EINVAL);
    if (options->backoff_max_ns < options->backoff_ns)
        return refuse(ret_reason, "the back-off's limit is below its beginning", -EINVAL);
    return 0;
}

static uint64_t lines_bytes(const struct group_options *options)
{
    return whole_pages(options->worker_count * sizeof(struct group_line));
}

uint64_t group_bytes(const struct group_options *options)
{
    return GROUP_HEADER_BYTES + lines_bytes(options) + whole_pages(options->entry_count * sizeof(struct group_entry));
}

static void view_pointers(struct group_view *view, void *memory)
{
    uint8_t *at = memory;
    view->header = memory;
    view->lines = (struct group_line *)(void *)(at + GROUP_HEADER_BYTES);
    view->entries = (struct group_entry *)(void *)(at + GROUP_HEADER_BYTES + lines_bytes(&view->options));
}

void group_format(void *memory, const struct group_options *options, const struct group_identity *identity,
                  uint64_t position)
{
    struct group_header *header = memory;
    header->magic = GROUP_MAGIC;
    header->layout_version = GROUP_LAYOUT_VERSION;
    header->header_bytes = GROUP_HEADER_BYTES;
    header->format_signature = RING_FORMAT_SIGNATURE;
    memcpy(header->ring_id, identity->ring_id, sizeof header->ring_id);
    memcpy(header->name, identity->name, sizeof header->name);
    header->created_ns = identity->created_ns;
    header->lease_ns = options->lease_ns;
    header->backoff_ns = options->backoff_ns;
    header->backoff_max_ns = options->backoff_max_ns;
    header->backoff_percent = options->backoff_percent;
    header->jitter_percent = options->jitter_percent;
    header->entry_count = options->entry_count;
    header->worker_count = options->worker_count;
    mem_store_relaxed(&header->cursor, cursor_make(position, 0));
    mem_store_release(&header->ready, GROUP_LAYOUT_VERSION); /* E9 ready */
}

int group_view_init(struct group_view *view, void *memory, uint64_t bytes, const char **ret_reason)
{
    const struct group_header *header = memory;
    if (bytes < GROUP_HEADER_BYTES)
        return refuse(ret_reason, "the file is shorter than its header", -EMEDIUMTYPE);
    if (mem_load_acquire(&header->ready) == 0) /* E9 ready */
        return refuse(ret_reason, "it is not ready yet", -EAGAIN);
    if (header->magic != GROUP_MAGIC)
        return refuse(ret_reason, "not a group's file", -EMEDIUMTYPE);
    if (header->layout_version != GROUP_LAYOUT_VERSION)
        return refuse(ret_reason, "another layout version", -EPROTONOSUPPORT);
    if (header->format_signature != RING_FORMAT_SIGNATURE)
        return refuse(ret_reason, "made on another kind of host", -EPROTONOSUPPORT);
    if (header->features_incompatible != 0)
        return refuse(ret_reason, "it needs features that this version does not know", -EPROTONOSUPPORT);
    if (header->header_bytes != GROUP_HEADER_BYTES)
        return refuse(ret_reason, "its header has another size", -EBADMSG);
    struct group_view read = {.options = {.lease_ns = header->lease_ns,
                                          .backoff_ns = header->backoff_ns,
                                          .backoff_max_ns = header->backoff_max_ns,
                                          .backoff_percent = header->backoff_percent,
                                          .jitter_percent = header->jitter_percent,
                                          .entry_count = header->entry_count,
                                          .worker_count = header->worker_count},
                              .identity = {.created_ns = header->created_ns}};
    memcpy(read.identity.name, header->name, sizeof read.identity.name);
    memcpy(read.identity.ring_id, header->ring_id, sizeof read.identity.ring_id);
    if (group_options_check(&read.options, ret_reason) < 0)
        return -EBADMSG;
    if (read.identity.name[RING_NAME_BYTES - 1] != '\0')
        return refuse(ret_reason, "its name has no end", -EBADMSG);
    if (group_bytes(&read.options) != bytes)
        return refuse(ret_reason, "the file has not the size that its header tells", -EBADMSG);
    view_pointers(&read, memory);
    *view = read;
    return 0;
}
