/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzz target without libFuzzer: replay FILE-OR-FOLDER... feeds it the empty input, every file, and damaged
 * copies of each. The damage is the same in each run, so a failure comes again; its input is left in the file
 * ./failing-input, which can be given as an argument.
 */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DAMAGED_COPIES 400u
#define INPUT_BYTES_MAX (1u << 20)

static uint64_t random_state;

/* splitmix64 */
static uint64_t random_next(void)
{
    uint64_t z = (random_state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void die(const char *what, const char *path)
{
    fprintf(stderr, "replay: %s %s: %s\n", what, path, strerror(errno));
    exit(1);
}

/* The target gets a block of exactly its size, so that the address sanitizer sees a read behind the end. */
static void run(const uint8_t *data, size_t size)
{
    FILE *note = fopen("failing-input", "wb");
    uint8_t *exact = malloc(size > 0 ? size : 1);

    if (!note || !exact)
        die("cannot note", "failing-input");
    if (size > 0)
        memcpy(exact, data, size);
    if (fwrite(exact, 1, size, note) != size || fclose(note) != 0)
        die("cannot write", "failing-input");
    LLVMFuzzerTestOneInput(exact, size);
    free(exact);
}

/* Changes a few bytes, mostly to the values at which lengths and indices go wrong; sometimes cuts the end off. */
static size_t damage(uint8_t *data, size_t size)
{
    static const uint8_t edges[] = {0x00, 0x01, 0x7f, 0x80, 0xff};

    for (uint64_t n = 1 + random_next() % 4; n > 0 && size > 0; n--) {
        size_t at = random_next() % size;
        switch (random_next() % 4) {
        case 0:
            data[at] ^= (uint8_t)(1u << (random_next() % 8));
            break;
        case 1:
            data[at] = edges[random_next() % sizeof(edges)];
            break;
        case 2:
            memset(data + at, (int)(random_next() & 1 ? 0xff : 0), size - at < 8 ? size - at : 8);
            break;
        default:
            if (random_next() % 4 == 0)
                size = at;
            break;
        }
    }
    return size;
}

static void run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *good = malloc(INPUT_BYTES_MAX);
    uint8_t *copy = malloc(INPUT_BYTES_MAX);

    if (!file || !good || !copy)
        die("cannot read", path);
    size_t size = fread(good, 1, INPUT_BYTES_MAX, file);
    fclose(file);
    run(good, size);
    for (unsigned i = 0; i < DAMAGED_COPIES; i++) {
        memcpy(copy, good, size);
        run(copy, damage(copy, size));
    }
    free(copy);
    free(good);
}

static bool is_directory(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void run_directory(const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, NULL, by_name);

    if (count < 0)
        die("cannot list", path);
    for (int i = 0; i < count; i++) {
        char *name = NULL;
        if (entries[i]->d_name[0] != '.') {
            if (asprintf(&name, "%s/%s", path, entries[i]->d_name) < 0)
                die("no memory for", path);
            run_file(name);
            free(name);
        }
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    run(NULL, 0);
    for (int i = 1; i < argc; i++) {
        if (is_directory(argv[i]))
            run_directory(argv[i]);
        else
            run_file(argv[i]);
    }
    remove("failing-input");
    return 0;
}
