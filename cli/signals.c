/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/signals.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/output.h"

static volatile sig_atomic_t stop;
static char bus_error_text[256];

/*
 * A signal that arrives between a look at the flag and a blocking read() or write() would be slept over. So the first
 * one starts an alarm that comes again every second and interrupts such a call.
 */
static void on_stop(int number)
{
    (void)number;
    stop = 1;
    alarm(1);
}

static void on_alarm(int number)
{
    (void)number;
    alarm(1);
}

static void on_bus_error(int number)
{
    (void)number;
    size_t bytes = strnlen(bus_error_text, sizeof bus_error_text);
    if (write(STDERR_FILENO, bus_error_text, bytes) != (ssize_t)bytes)
        _exit(EXIT_FAILED);
    _exit(EXIT_FAILED);
}

static void handle(int number, void (*handler)(int))
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler; /* no SA_RESTART: blocking calls are to be interrupted */
    sigemptyset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

void signals_install(void)
{
    struct sigaction inherited;
    handle(SIGINT, on_stop);
    handle(SIGTERM, on_stop);
    /* Under nohup it stays ignored. */
    if (sigaction(SIGHUP, NULL, &inherited) == 0 && inherited.sa_handler != SIG_IGN)
        handle(SIGHUP, on_stop);
    handle(SIGALRM, on_alarm);
    handle(SIGPIPE, SIG_IGN);
    signals_about("(unknown)");
    handle(SIGBUS, on_bus_error);
}

bool signals_stop(void)
{
    return stop != 0;
}

void signals_about(const char *ring)
{
    snprintf(bus_error_text, sizeof bus_error_text,
             "weir: %s: the ring's memory is gone: %s: a file of it was truncated while in use; remove the ring with "
             "'weir ring rm --force' and create it again\n",
             complain_verb(), ring);
}
