/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file `meta`: what the ring is, its epoch, its lease.
 *
 * 1. At every instant one block is valid, on stable storage and not being written: the one that a new generation does not
 *    go to. A torn write leaves the old generation.
 * 2. When a generation is durable it is written over the other block too, without waiting: a block that rots later does not
 *    bring back an older lease, under which positions could be given out a second time. So the two are usually equal.
 * 3. What a new writer finds may be in the kernel alone. So before it says what it found, or touches the other block, it
 *    writes the block that counts over itself and syncs it: nobody leans on a lease that power loss could take back.
 */
#include "journal/meta.h"

#include <errno.h>
#include <string.h>

#include "journal/io.h"
#include "journal/writer.h"

static_assert(sizeof(struct journal_meta_block) <= JOURNAL_BLOCK_BYTES, "meta block fits");

static uint32_t block_crc(const struct journal_meta_block *block)
{
    return journal_crc32c(0, block, offsetof(struct journal_meta_block, crc));
}

int journal_meta_check(const struct journal_meta *meta)
{
    uint32_t shift = journal_shift(meta);

    if (journal_name_check(meta->identity.name) < 0 ||
        !journal_shifts_check(meta->geometry.segment_shift, meta->segments_shift))
        return -EINVAL;
    if (meta->identity.epoch == 0 || meta->identity.start % ((uint64_t)1 << shift) != 0 ||
        meta->durable % RING_UNIT_BYTES != 0)
        return -EINVAL;
    return 0;
}

static struct journal_meta_block encode(const struct journal_meta *meta, uint64_t generation)
{
    const struct ring_geometry *geometry = &meta->geometry;
    struct journal_meta_block block = {
        .magic = JOURNAL_META_MAGIC,
        .layout_version = JOURNAL_LAYOUT_VERSION,
        .header_bytes = sizeof(block),
        .format_signature = RING_FORMAT_SIGNATURE,
        .generation = generation,
        .created_ns = meta->identity.created_ns,
        .epoch = meta->identity.epoch,
        .start = meta->identity.start,
        .lease = meta->lease,
        .durable = meta->durable,
        .features_incompatible = geometry->features_incompatible,
        .memory_limit_bytes = geometry->memory_limit_bytes,
        .flags = geometry->flags,
        .when_full = geometry->when_full,
        .segment_shift = (uint16_t)geometry->segment_shift,
        .segments_shift = (uint16_t)meta->segments_shift,
        .max_publishers = geometry->max_publishers,
        .max_readers = geometry->max_readers,
        .max_producers = geometry->max_producers,
        .max_cursors = geometry->max_cursors,
        .huge = (uint8_t)geometry->huge,
        .numa_node = (uint16_t)geometry->numa_node,
        .mode = meta->mode,
        .uid = meta->uid,
        .gid = meta->gid,
    };

    memcpy(block.ring_id, meta->identity.ring_id, sizeof(block.ring_id));
    memcpy(block.name, meta->identity.name, strnlen(meta->identity.name, sizeof(block.name) - 1));
    block.crc = block_crc(&block);
    return block;
}

/* -EMEDIUMTYPE: another magic; -EPROTONOSUPPORT: another version, or a host of another kind wrote it; -EBADMSG. */
static int decode(const struct journal_meta_block *block, struct journal_meta *ret_meta)
{
    if (block->magic == __builtin_bswap64(JOURNAL_META_MAGIC))
        return -EPROTONOSUPPORT;
    if (block->magic != JOURNAL_META_MAGIC)
        return -EMEDIUMTYPE;
    if (block->layout_version != JOURNAL_LAYOUT_VERSION || block->format_signature != RING_FORMAT_SIGNATURE)
        return -EPROTONOSUPPORT;
    if (block->header_bytes != sizeof(*block) || block->crc != block_crc(block))
        return -EBADMSG;
    if (block->features_incompatible & ~(uint64_t)RING_FEATURES_KNOWN)
        return -EPROTONOSUPPORT;

    struct journal_meta meta = {
        .geometry = {.flags = block->flags,
                     .when_full = block->when_full,
                     .segment_shift = block->segment_shift,
                     .max_publishers = block->max_publishers,
                     .max_readers = block->max_readers,
                     .max_producers = block->max_producers,
                     .max_cursors = block->max_cursors,
                     .memory_limit_bytes = block->memory_limit_bytes,
                     .features_incompatible = block->features_incompatible,
                     .huge = block->huge,
                     .numa_node = block->numa_node},
        .segments_shift = block->segments_shift,
        .identity = {.created_ns = block->created_ns, .epoch = block->epoch, .start = block->start},
        .mode = block->mode,
        .uid = block->uid,
        .gid = block->gid,
        .lease = block->lease,
        .durable = block->durable,
    };
    memcpy(meta.identity.ring_id, block->ring_id, sizeof(meta.identity.ring_id));
    memcpy(meta.identity.name, block->name, sizeof(meta.identity.name));
    if (journal_meta_check(&meta) < 0)
        return -EBADMSG;
    size_t name_bytes = strlen(meta.identity.name);
    memset(meta.identity.name + name_bytes, 0, sizeof(meta.identity.name) - name_bytes); /* nothing else behind it */
    *ret_meta = meta;
    return 0;
}

/* Of two errors the one that says more. */
static int worse(int a, int b)
{
    if (a == -EPROTONOSUPPORT || b == -EPROTONOSUPPORT)
        return -EPROTONOSUPPORT;
    return a == -EBADMSG || b == -EBADMSG ? -EBADMSG : -EMEDIUMTYPE;
}

static int read_block(int meta_fd, uint32_t number, struct journal_meta_block *block, struct journal_meta *ret_meta)
{
    int64_t got = jio_read(meta_fd, block, sizeof(*block), (uint64_t)number * JOURNAL_BLOCK_BYTES);

    if (got < 0)
        return (int)got;
    return (uint64_t)got < sizeof(*block) ? -EMEDIUMTYPE : decode(block, ret_meta);
}

int journal_meta_check_block(int meta_fd, uint32_t block)
{
    struct journal_meta_block bytes;
    struct journal_meta meta;

    return read_block(meta_fd, block, &bytes, &meta);
}

int journal_meta_load(int meta_fd, struct journal_meta *ret_meta, struct journal_meta_state *ret_state)
{
    struct journal_meta_block block[2];
    struct journal_meta meta[2];
    int result[2];

    for (uint32_t i = 0; i < 2; i++) {
        int64_t got = jio_read(meta_fd, &block[i], sizeof(block[i]), (uint64_t)i * JOURNAL_BLOCK_BYTES);
        if (got < 0)
            return (int)got;
        result[i] = (uint64_t)got < sizeof(block[i]) ? -EMEDIUMTYPE : decode(&block[i], &meta[i]);
    }
    if (result[0] < 0 && result[1] < 0)
        return worse(result[0], result[1]);
    uint32_t newest = result[0] < 0 || (result[1] == 0 && block[1].generation > block[0].generation);
    *ret_meta = meta[newest];
    *ret_state = (struct journal_meta_state){block[newest].generation, newest};
    return 0;
}

int journal_meta_read(int folder_fd, struct journal_meta *ret_meta)
{
    struct journal_meta_state state;
    int fd = journal_file_open(folder_fd, JOURNAL_META_NAME, false);
    if (fd < 0)
        return fd;

    int result = journal_meta_load(fd, ret_meta, &state);
    jio_close(fd);
    return result;
}

int journal_meta_write(int meta_fd, const struct journal_meta *meta, uint64_t generation, uint32_t block)
{
    uint8_t bytes[JOURNAL_BLOCK_BYTES] = {0};
    struct journal_meta_block encoded = encode(meta, generation);

    memcpy(bytes, &encoded, sizeof(encoded));
    return jio_write(meta_fd, bytes, sizeof(bytes), (uint64_t)block * JOURNAL_BLOCK_BYTES);
}

int journal_meta_replace(int folder_fd, const struct journal_meta *meta)
{
    struct journal_rights rights = {meta->mode, meta->uid, meta->gid};
    struct journal_meta_block encoded = encode(meta, 1);
    uint8_t bytes[2 * JOURNAL_BLOCK_BYTES] = {0};
    bool sync_failed;

    memcpy(bytes, &encoded, sizeof(encoded));
    memcpy(bytes + JOURNAL_BLOCK_BYTES, &encoded, sizeof(encoded));
    return journal_file_replace(folder_fd, JOURNAL_META_NAME, &rights, bytes, sizeof(bytes), &sync_failed);
}

static bool same_ring(const struct journal_meta *a, const struct journal_meta *b)
{
    return memcmp(a->identity.ring_id, b->identity.ring_id, sizeof(a->identity.ring_id)) == 0 &&
           strcmp(a->identity.name, b->identity.name) == 0 && a->geometry.segment_shift == b->geometry.segment_shift &&
           a->segments_shift == b->segments_shift;
}

int journal_set_meta(struct journal_writer *writer, const struct journal_meta *meta)
{
    struct journal_meta_state next = {writer->meta_state.generation + 1, !writer->meta_state.block};

    if (writer->error < 0)
        return writer->error;
    if (journal_meta_check(meta) < 0 || !same_ring(meta, &writer->meta) ||
        meta->identity.epoch < writer->meta.identity.epoch)
        return -EINVAL;
    int result = journal_meta_write(writer->meta_fd, meta, next.generation, next.block);
    if (result == 0)
        result = jio_sync_data(writer->meta_fd);
    if (result < 0)
        return journal_end(writer, result);

    uint32_t other = writer->meta_state.block;
    writer->meta = *meta;
    writer->meta_state = next;
    result = journal_meta_write(writer->meta_fd, meta, next.generation, other); /* clause 2 */
    return result < 0 ? journal_end(writer, result) : 0;
}
