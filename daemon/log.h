/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One line per event to stderr. Under journald ($JOURNAL_STREAM) a line starts with its priority as sd-daemon(3) has it.
 * Any thread.
 */
#ifndef WEIR_DAEMON_LOG_H
#define WEIR_DAEMON_LOG_H

#include <stdbool.h>

/* syslog's numbers. */
enum log_level { LOG_LEVEL_ERROR = 3, LOG_LEVEL_WARNING = 4, LOG_LEVEL_NOTICE = 5, LOG_LEVEL_DEBUG = 7 };

/* Debug lines are left out unless verbose. Call it before threads start. */
void log_setup(bool verbose);
/* Any thread, any time. */
void log_set_verbose(bool verbose);
bool log_is_verbose(void);
void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
