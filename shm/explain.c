/* SPDX-License-Identifier: Apache-2.0 */
/* Sentences for people: what was wrong, where, what to do. */
#include "shm/internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#ifdef WEIR_TESTING
void (*shm_point_hook)(const char *step);
#endif

/* Names of files come from directories that others write: nothing in them may steer the reader's terminal. */
static void disarm(struct shm_why *why)
{
    for (char *at = why->text; *at; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    }
}

void shm_explain(struct shm_why *why, const char *format, ...)
{
    if (!why)
        return;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(why->text, sizeof(why->text), format, arguments);
    va_end(arguments);
    disarm(why);
}

int shm_fail(struct shm_why *why, int error, const char *format, ...)
{
    if (!why)
        return -error;
    va_list arguments;
    va_start(arguments, format);
    errno = error;
    (void)vsnprintf(why->text, sizeof(why->text), format, arguments);
    va_end(arguments);
    disarm(why);
    return -error;
}

const char *shm_place_of(int fd, struct shm_place *place)
{
    char link[32];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, place->text, sizeof(place->text) - 1);
    if (length < 0)
        (void)snprintf(place->text, sizeof(place->text), "the bus directory");
    else
        place->text[length] = '\0';
    return place->text;
}

const char *shm_amount_of(uint64_t bytes, struct shm_amount *amount)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes / 1024;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    (void)snprintf(amount->text, sizeof(amount->text), "%.1f %s (%" PRIu64 " bytes)", value, units[unit], bytes);
    return amount->text;
}
