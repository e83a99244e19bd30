/* SPDX-License-Identifier: Apache-2.0 */
/* Lines for a person or for journald. */
#include "daemon/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ringbuf/access.h"

static struct mem_u64 log_verbose;
static bool log_priorities;

void log_setup(bool verbose)
{
    log_set_verbose(verbose);
    log_priorities = getenv("JOURNAL_STREAM") != NULL;
}

void log_set_verbose(bool verbose)
{
    mem_store_relaxed(&log_verbose, verbose);
}

bool log_is_verbose(void)
{
    return mem_load_relaxed(&log_verbose) != 0;
}

void log_line(enum log_level level, const char *format, ...)
{
    char text[1100], line[1200];
    if (level == LOG_LEVEL_DEBUG && !log_is_verbose())
        return;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    for (char *at = text; *at; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?'; /* a path may hold anything; a line stays a line */
    }
    int bytes;
    if (log_priorities)
        bytes = snprintf(line, sizeof line, "<%d>%s\n", (int)level, text);
    else
        bytes = snprintf(line, sizeof line, "weird: %s%s\n", level == LOG_LEVEL_WARNING ? "warning: " : "", text);
    ssize_t written = write(STDERR_FILENO, line, (size_t)bytes); /* in one call, so that lines of threads do not mix */
    (void)written;
}
