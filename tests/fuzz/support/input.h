/* SPDX-License-Identifier: Apache-2.0 */
/* Takes a fuzz input apart from its front. At its end all is zero. */
#ifndef WEIR_FUZZ_INPUT_H
#define WEIR_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct input {
    const uint8_t *at;
    size_t left;
};

static inline size_t input_bytes(struct input *input, void *to, size_t bytes)
{
    size_t there = bytes < input->left ? bytes : input->left;

    memset(to, 0, bytes);
    if (there > 0)
        memcpy(to, input->at, there);
    input->at += there;
    input->left -= there;
    return there;
}

static inline uint64_t input_number(struct input *input, size_t bytes)
{
    uint8_t at[8];
    uint64_t number = 0;

    input_bytes(input, at, bytes);
    for (size_t i = 0; i < bytes; i++)
        number |= (uint64_t)at[i] << (8 * i);
    return number;
}

/* What must hold whatever the input is. */
static inline void need(int condition, const char *what)
{
    if (condition)
        return;
    dprintf(STDERR_FILENO, "fuzz: %s\n", what); /* a target may have put stderr aside */
    abort();
}

#endif
