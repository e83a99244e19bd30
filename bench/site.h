/* SPDX-License-Identifier: Apache-2.0 */
/* Where the cases work that need a daemon or a disk: a bus, and a private folder, made when the first of them asks. */
#ifndef WEIR_BENCH_SITE_H
#define WEIR_BENCH_SITE_H

#include <stddef.h>
#include <stdint.h>

struct site {
    const char *bus;
    const char *weird;     /* path of the daemon, or its name in $PATH */
    const char *directory; /* that the folder is made in; NULL: $TMPDIR where that is a disk, else /var/tmp */
    int (*stop)(void);     /* non-zero: end soon, or NULL */
    char folder[512];      /* "": not made yet */
    char disk[32];         /* its file system: "ext4" */
    int in_memory;         /* 1: that is no disk, so figures say nothing of one */
};

/*
 * Makes the folder unless it is there, and sees that so much can be written to it now. Says on stderr what is wrong.
 * -ECANCELED: there is no room.
 */
int site_open(struct site *site, uint64_t bytes);
/* Removes the folder with all that is in it. */
void site_close(struct site *site);
int site_stopped(const struct site *site);
/* Removes a directory with all that is in it. */
void site_remove(const char *directory);

#endif
