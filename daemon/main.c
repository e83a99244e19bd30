/* SPDX-License-Identifier: Apache-2.0 */
/* weird: reads its options, takes the signals, starts the daemon and stops it. */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <weir.h>

#include "daemon/cpus.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/weird.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char usage[] =
    "usage: weird [--bus DIR] [--journal DIR] [--threads N] [--cpus LIST] [--verbose]\n"
    "\n"
    "Drains the rings of a bus to their journals on disk, frees their memory, repairs what the dead leave behind,\n"
    "and brings rings back after a restart of the host.\n"
    "\n"
    "  --bus DIR      the bus (default: $WEIR_BUS, else /run/weir where it may be used, else /dev/shm/weir-UID)\n"
    "  --journal DIR  where the journals lie (default: /var/lib/weir where it may be written, else\n"
    "                 $XDG_STATE_HOME/weir, else ~/.local/state/weir)\n"
    "  --threads N    threads that drain, 1 to 64 (default: 1)\n"
    "  --cpus LIST    processors that they run on, like 0,2-5 (default: any)\n"
    "  --verbose      more lines on standard error\n"
    "  --help         this text\n"
    "  --version      the version\n"
    "\n"
    "SIGTERM, SIGINT and SIGHUP stop it: what is committed is drained and synced first; a second one ends it at once.\n"
    "Exit status: 0 stopped, 1 failed, 2 usage.\n";

static int refuse(const char *what, const char *value)
{
    fprintf(stderr, "weird: %s%s%s\nTry 'weird --help'.\n", what, value ? ": " : "", value ? value : "");
    return EXIT_USAGE;
}

/* -1: go on; else exit with this. */
static int parse(int argc, char **argv, struct weird_options *options)
{
    static const struct option known[] = {
        {"bus", required_argument, NULL, 'b'},     {"journal", required_argument, NULL, 'j'},
        {"threads", required_argument, NULL, 't'}, {"cpus", required_argument, NULL, 'c'},
        {"verbose", no_argument, NULL, 'v'},       {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},       {NULL, 0, NULL, 0}};
    static cpu_set_t cpus; /* outlives the call */
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, ":", known, NULL)) != -1;) {
        char *end;
        unsigned long threads;
        switch (option) {
        case 'b':
            options->bus = optarg;
            break;
        case 'j':
            options->journal = optarg;
            break;
        case 't':
            errno = 0;
            threads = strtoul(optarg, &end, 10);
            if (errno || end == optarg || *end || optarg[0] == '-' || threads < 1 || threads > WEIRD_THREADS_MAX)
                return refuse("--threads must be 1 to 64", optarg);
            options->threads = (uint32_t)threads;
            break;
        case 'c':
            if (cpus_parse(optarg, &cpus) < 0)
                return refuse("--cpus must be a list of processors, like 0,2-5", optarg);
            options->cpus = &cpus;
            break;
        case 'v':
            options->verbose = true;
            break;
        case 'h':
            return fputs(usage, stdout) < 0 || fflush(stdout) != 0 ? EXIT_FAILED : EXIT_DONE;
        case 'V':
            printf("weird %d.%d.%d\n", WEIR_VERSION_MAJOR, WEIR_VERSION_MINOR, WEIR_VERSION_PATCH);
            return fflush(stdout) != 0 ? EXIT_FAILED : EXIT_DONE;
        case ':':
            return refuse("a value is missing", argv[optind - 1]);
        default:
            /* A letter: optind may not have gone beyond its word yet. But "--verbose=1" sets it too. */
            if (optopt && !(strchr("vhV", optopt) && strchr(argv[optind - 1], '=')))
                return refuse("unknown option", (char[]){'-', (char)optopt, 0});
            return refuse("unknown option", argv[optind - 1]);
        }
    }
    if (optind < argc)
        return refuse("unexpected argument", argv[optind]);
    if ((options->bus && !options->bus[0]) || (options->journal && !options->journal[0]))
        return refuse("a directory is empty", NULL);
    return -1;
}

/* Each participant that is watched takes a descriptor, and each ring several. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Returns when it is time to stop; EXIT_FAILED when that is not by request. */
static int serve(const struct weird *weird, int signal_fd)
{
    struct pollfd polled[] = {{.fd = signal_fd, .events = POLLIN}, {.fd = weird_failed_fd(weird), .events = POLLIN}};
    for (;;) {
        if (poll(polled, 2, -1) < 0 && errno != EINTR)
            return EXIT_FAILED;
        if (polled[0].revents)
            return EXIT_DONE;
        if (polled[1].revents)
            return EXIT_FAILED;
    }
}

int main(int argc, char **argv)
{
    struct weird_options options = {0};
    int status = parse(argc, argv, &options);
    if (status >= 0)
        return status;

    sigset_t stops;
    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    struct sigaction hangup;
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) /* as nohup(1) has it */
        sigaddset(&stops, SIGHUP);
    sigprocmask(SIG_BLOCK, &stops, NULL); /* before there are threads, which inherit it */
    signal(SIGPIPE, SIG_IGN);
    raise_descriptors();
    log_setup(options.verbose);
    int signal_fd = signalfd(-1, &stops, SFD_CLOEXEC);
    if (signal_fd < 0) {
        log_error("signalfd: %m");
        return EXIT_FAILED;
    }

    struct shm_why why = {{0}};
    struct weird *weird;
    int r = weird_start(&options, &weird, &why);
    if (r < 0) {
        log_error("%s", why.text);
        return EXIT_FAILED;
    }
    log_notice("serving the bus %s, journals in %s", weird_bus(weird), weird_journal(weird));
    notify_manager("READY=1");
    status = serve(weird, signal_fd);
    notify_manager("STOPPING=1");

    /* Stopping may wait for the disk. Whoever cannot wait sends another signal: nothing is lost by it. */
    struct signalfd_siginfo taken;
    while (status == EXIT_DONE && read(signal_fd, &taken, sizeof taken) < 0 && errno == EINTR)
        ;
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    if (sigismember(&stops, SIGHUP))
        signal(SIGHUP, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &stops, NULL);
    weird_stop(weird);
    log_notice("stopped");
    return status;
}
