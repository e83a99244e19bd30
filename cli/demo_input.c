/* SPDX-License-Identifier: Apache-2.0 */
/* The demo's input: lines of files of this machine, and their digest. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/demo.h"
#include "cli/output.h"

void demo_digest_start(struct demo_digest *digest)
{
    digest->count = 0;
    digest->hash = UINT64_C(0xcbf29ce484222325);
}

static uint64_t fnv1a(uint64_t hash, const unsigned char *data, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        hash = (hash ^ data[i]) * UINT64_C(0x100000001b3);
    return hash;
}

void demo_digest_add(struct demo_digest *digest, const void *data, size_t bytes)
{
    unsigned char length[4] = {bytes & 255, bytes >> 8 & 255, bytes >> 16 & 255, bytes >> 24 & 255};
    digest->hash = fnv1a(fnv1a(digest->hash, length, sizeof length), data, bytes);
    digest->count++;
}

/* Appends a file to the text, with a newline at its end. 0, or a negative errno. */
static int append_file(struct demo_input *input, size_t *capacity, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat status;
    int rc = 0;
    if (fd < 0 || fstat(fd, &status) != 0) {
        rc = -errno;
        goto out;
    }
    size_t needed = input->text_bytes + (size_t)status.st_size + 2;
    if (needed > *capacity) {
        size_t bigger = 2 * needed;
        char *text = realloc(input->text, bigger);
        if (!text) {
            rc = -ENOMEM;
            goto out;
        }
        input->text = text;
        *capacity = bigger;
    }
    for (;;) {
        ssize_t got = read(fd, input->text + input->text_bytes, *capacity - input->text_bytes - 1);
        if (got <= 0) {
            rc = got < 0 ? -errno : 0;
            break;
        }
        input->text_bytes += (size_t)got;
        if (*capacity - input->text_bytes <= 1) /* it has grown meanwhile */
            break;
    }
    if (input->text_bytes > 0 && input->text[input->text_bytes - 1] != '\n')
        input->text[input->text_bytes++] = '\n';
    input->file_count++;
out:
    if (fd >= 0)
        close(fd);
    return rc;
}

static int split_lines(struct demo_input *input)
{
    size_t count = 0;
    for (size_t i = 0; i < input->text_bytes; i++)
        count += input->text[i] == '\n';
    input->lines = calloc(count + 1, sizeof *input->lines);
    if (!input->lines)
        return -ENOMEM;
    const char *line = input->text;
    for (const char *end = input->text + input->text_bytes; line < end; input->line_count++) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        input->lines[input->line_count].data = line;
        input->lines[input->line_count].bytes = (size_t)(newline - line);
        line = newline + 1;
    }
    return 0;
}

int demo_input_load(struct demo_input *input, const char *file)
{
    static const char *const patterns[] = {"/var/lib/dpkg/info/*.list", "/var/lib/dpkg/info/*.md5sums"};
    size_t capacity = 0;
    int rc = 0;
    memset(input, 0, sizeof *input);
    if (file) {
        rc = append_file(input, &capacity, file);
    } else {
        for (size_t i = 0; i < sizeof patterns / sizeof patterns[0] && rc == 0; i++) {
            glob_t found = {0};
            if (glob(patterns[i], 0, NULL, &found) == 0)
                for (size_t j = 0; j < found.gl_pathc && rc == 0; j++)
                    rc = append_file(input, &capacity, found.gl_pathv[j]);
            globfree(&found);
        }
    }
    if (rc == 0 && input->text_bytes > 0)
        rc = split_lines(input);
    if (rc == 0 && input->line_count > 0)
        return EXIT_DONE;
    complain("no input: %s: %s: name a text file with --input", file ? file : patterns[0],
             rc ? strerror(-rc) : "there is no line");
    demo_input_free(input);
    return EXIT_FAILED;
}

void demo_input_free(struct demo_input *input)
{
    free(input->lines);
    free(input->text);
    memset(input, 0, sizeof *input);
}
