/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/site.h"

#include <errno.h>
#include <ftw.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>

/* Directories, and what the file system itself needs for so many bytes, and more. */
#define SLACK_BYTES (64ull << 20)

struct disk_name {
    unsigned long magic;
    const char *name;
};
/* linux/magic.h has no name for these: XFS and ZFS. */
static const struct disk_name disk_names[] = {
    {EXT4_SUPER_MAGIC, "ext4"},         {0x58465342, "xfs"},      {BTRFS_SUPER_MAGIC, "btrfs"},
    {F2FS_SUPER_MAGIC, "f2fs"},         {NFS_SUPER_MAGIC, "nfs"}, {0x2fc12fc1, "zfs"},
    {OVERLAYFS_SUPER_MAGIC, "overlay"}, {TMPFS_MAGIC, "tmpfs"},   {RAMFS_MAGIC, "ramfs"},
};

static const char *disk_of(const char *directory)
{
    static char unknown[32];
    struct statfs fs;
    if (statfs(directory, &fs) < 0)
        return "";
    for (size_t i = 0; i < sizeof disk_names / sizeof *disk_names; i++)
        if ((unsigned long)fs.f_type == disk_names[i].magic)
            return disk_names[i].name;
    snprintf(unknown, sizeof unknown, "0x%lx", (unsigned long)fs.f_type);
    return unknown;
}

static int is_memory(const char *disk)
{
    return strcmp(disk, "tmpfs") == 0 || strcmp(disk, "ramfs") == 0;
}

static const char *choose_directory(const struct site *site)
{
    const char *temporary = getenv("TMPDIR");
    if (site->directory)
        return site->directory;
    return temporary && temporary[0] && !is_memory(disk_of(temporary)) ? temporary : "/var/tmp";
}

static int make_folder(struct site *site)
{
    const char *directory = choose_directory(site);
    char folder[sizeof site->folder];
    int length = snprintf(folder, sizeof folder, "%s/weir-bench-XXXXXX", directory);
    int r = length >= (int)sizeof folder ? -ENAMETOOLONG : mkdtemp(folder) ? 0 : -errno;
    if (r < 0) {
        fprintf(stderr, "weir: bench: cannot make a folder in %s: %s: choose another --journal-dir\n", directory,
                strerror(-r));
        return r;
    }
    memcpy(site->folder, folder, sizeof folder);
    snprintf(site->disk, sizeof site->disk, "%s", disk_of(folder));
    site->in_memory = is_memory(site->disk);
    if (site->in_memory)
        fprintf(stderr,
                "weir: bench: %s is %s: what follows of journals says nothing of a disk, and is held against no "
                "budget\n",
                directory, site->disk);
    return 0;
}

int site_open(struct site *site, uint64_t bytes)
{
    struct statvfs room;
    int r = site->folder[0] ? 0 : make_folder(site);
    if (r < 0)
        return r;
    if (statvfs(site->folder, &room) < 0)
        return -errno;
    uint64_t free_bytes = (uint64_t)room.f_bavail * room.f_frsize, wanted_bytes = bytes + bytes / 8 + SLACK_BYTES;
    if (bytes == 0 || free_bytes >= wanted_bytes)
        return 0;
    fprintf(stderr,
            "weir: bench: %s: %llu MiB are needed, %llu MiB are free: choose another --journal-dir, or less "
            "--journal-bytes\n",
            site->folder, (unsigned long long)(wanted_bytes >> 20), (unsigned long long)(free_bytes >> 20));
    return -ECANCELED;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    (void)where;
    return remove(path);
}

void site_remove(const char *directory)
{
    nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

void site_close(struct site *site)
{
    if (site->folder[0])
        site_remove(site->folder);
    site->folder[0] = '\0';
}

int site_stopped(const struct site *site)
{
    return site->stop && site->stop();
}
