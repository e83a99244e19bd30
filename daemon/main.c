/* SPDX-License-Identifier: Apache-2.0 */
/* weird: reads its options, takes the signals, starts the daemon and stops it. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <weir.h>

#include "daemon/config.h"
#include "daemon/cpus.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/reload.h"
#include "daemon/weird.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static const char usage[] =
    "usage: weird [--config FILE] [--bus DIR] [--journal DIR] [--threads N] [--cpus LIST] [--verbose]\n"
    "       weird --check-config [--config FILE]\n"
    "\n"
    "Drains the rings of a bus to their journals on disk, frees their memory, repairs what the dead leave behind,\n"
    "and brings rings back after a restart of the host.\n"
    "\n"
    "  --config FILE  read this: see weird.conf(5); the other options win over it\n"
    "  --check-config print the configuration with what each key may be, or what is wrong with it, and exit\n"
    "  --bus DIR      the bus (default: $WEIR_BUS, else /run/weir where it may be used, else /dev/shm/weir-UID)\n"
    "  --journal DIR  where the journals lie (default: /var/lib/weir where it may be written, else\n"
    "                 $XDG_STATE_HOME/weir, else ~/.local/state/weir)\n"
    "  --threads N    threads that drain, 1 to 64 (default: 1; one for each NUMA node at least)\n"
    "  --cpus LIST    processors that they run on, like 0,2-5 (default: any)\n"
    "  --verbose      more lines on standard error\n"
    "  --help         this text\n"
    "  --version      the version\n"
    "\n"
    "SIGTERM and SIGINT stop it: what is committed is drained and synced first; a second one ends it at once. SIGHUP "
    "makes\n"
    "it read FILE again; without --config it stops it, too.\n"
    "Exit status: 0 stopped, or the configuration is good; 1 failed; 2 usage.\n";

struct line {
    const char *config;
    bool check;
    struct config_given given;
};

static int refuse(const char *what, const char *value)
{
    fprintf(stderr, "weird: %s%s%s\nTry 'weird --help'.\n", what, value ? ": " : "", value ? value : "");
    return EXIT_USAGE;
}

static int check(const struct line *line)
{
    const struct config_given *given = &line->given;
    cpu_set_t cpus;
    if ((given->bus && !given->bus[0]) || (given->journal && !given->journal[0]))
        return refuse("a directory is empty", NULL);
    if ((given->bus && strlen(given->bus) >= PATH_MAX) || (given->journal && strlen(given->journal) >= PATH_MAX))
        return refuse("the path of a directory is too long", NULL);
    if (given->cpus && (strlen(given->cpus) >= CONFIG_CPUS_BYTES || cpus_parse(given->cpus, &cpus) < 0))
        return refuse("--cpus must be a list of processors, like 0,2-5", given->cpus);
    return -1;
}

/* -1: go on; else exit with this. */
static int parse(int argc, char **argv, struct line *line)
{
    static const struct option known[] = {
        {"bus", required_argument, NULL, 'b'},     {"journal", required_argument, NULL, 'j'},
        {"threads", required_argument, NULL, 't'}, {"cpus", required_argument, NULL, 'c'},
        {"config", required_argument, NULL, 'f'},  {"check-config", no_argument, NULL, 'k'},
        {"verbose", no_argument, NULL, 'v'},       {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},       {NULL, 0, NULL, 0}};
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, ":", known, NULL)) != -1;) {
        char *end;
        unsigned long threads;
        switch (option) {
        case 'b':
            line->given.bus = optarg;
            break;
        case 'j':
            line->given.journal = optarg;
            break;
        case 't':
            errno = 0;
            threads = strtoul(optarg, &end, 10);
            if (errno || end == optarg || *end || optarg[0] == '-' || threads < 1 || threads > WEIRD_THREADS_MAX)
                return refuse("--threads must be 1 to 64", optarg);
            line->given.threads = (uint32_t)threads;
            break;
        case 'c':
            line->given.cpus = optarg;
            break;
        case 'f':
            line->config = optarg;
            break;
        case 'k':
            line->check = true;
            break;
        case 'v':
            line->given.verbose = true;
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
            if (optopt && !(strchr("vhVk", optopt) && strchr(argv[optind - 1], '=')))
                return refuse("unknown option", (char[]){'-', (char)optopt, 0});
            return refuse("unknown option", argv[optind - 1]);
        }
    }
    if (optind < argc)
        return refuse("unexpected argument", argv[optind]);
    return check(line);
}

/* -- configuration --------------------------------------------------------------------------------------------------- */

static void complain(void *ctx, const char *text)
{
    (void)ctx;
    log_error("%s", text);
}

static int configure(const struct line *line, struct config *ret_config)
{
    static const struct config_tell tell = {complain, NULL};
    config_default(ret_config);
    int r = line->config ? config_load(line->config, ret_config, &tell) : 0;
    config_override(ret_config, &line->given);
    return r;
}

static int check_config(const struct line *line)
{
    struct config config;
    if (configure(line, &config) < 0)
        return EXIT_FAILED;
    config_print(stdout, &config);
    config_free(&config);
    return fflush(stdout) != 0 || ferror(stdout) ? EXIT_FAILED : EXIT_DONE;
}

static int call_reload(void *ctx, struct weird *weird, void (*tell)(void *tell_ctx, const char *line), void *tell_ctx)
{
    return reload_run(ctx, weird, tell, tell_ctx);
}

static void call_stop(void *ctx)
{
    (void)ctx;
    kill(getpid(), SIGTERM); /* blocked in every thread: serve() takes it */
}

static int start(struct reload *reload, struct weird **ret_weird)
{
    const struct config *config = &reload->running;
    struct weird_calls calls = {.config = reload->file, .stop = call_stop, .ctx = reload};
    cpu_set_t cpus;
    if (reload->file)
        calls.reload = call_reload;
    struct weird_options options = {.bus = config->bus[0] ? config->bus : NULL,
                                    .journal = config->journal[0] ? config->journal : NULL,
                                    .threads = config->threads,
                                    .verbose = config->verbose,
                                    .policies = &config->policies,
                                    .calls = &calls};
    if (config->cpus[0] && cpus_parse(config->cpus, &cpus) == 0)
        options.cpus = &cpus;
    struct shm_why why = {{0}};
    int r = weird_start(&options, ret_weird, &why);
    if (r < 0)
        log_error("%s", why.text);
    return r;
}

/* -- serving --------------------------------------------------------------------------------------------------------- */

/* Each participant that is watched takes a descriptor, and each ring several. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* The service manager's watchdog, told four times in its period as long as each thread does its work. */
struct watchdog {
    uint64_t period_ns; /* 0: there is none */
    uint64_t looked_ns;
    bool hangs;
};

static int watchdog_timeout_ms(const struct watchdog *watchdog)
{
    uint64_t timeout_ms = watchdog->period_ns / 4 / 1000000;
    if (!watchdog->period_ns)
        return -1;
    return timeout_ms < 1 ? 1 : timeout_ms > INT_MAX ? INT_MAX : (int)timeout_ms;
}

static void watchdog_look(struct watchdog *watchdog, struct weird *weird)
{
    uint64_t now_ns = shm_now_ns(), step_ns = now_ns - watchdog->looked_ns;
    if (!watchdog->period_ns || step_ns < watchdog->period_ns / 5)
        return;
    watchdog->looked_ns = now_ns;
    /* Whoever stopped this process stopped its threads with it. */
    bool lives = weird_lives(weird, step_ns < watchdog->period_ns / 2 ? step_ns : watchdog->period_ns / 2);
    if (lives)
        notify_manager("WATCHDOG=1");
    else if (!watchdog->hangs)
        log_error("a thread hangs: the service manager's watchdog is told nothing until it goes on");
    watchdog->hangs = !lives;
}

/* Returns when it is time to stop; EXIT_FAILED when that is not by request. */
static int serve(struct weird *weird, struct reload *reload, int signal_fd)
{
    struct pollfd polled[] = {{.fd = signal_fd, .events = POLLIN}, {.fd = weird_failed_fd(weird), .events = POLLIN}};
    struct watchdog watchdog = {.period_ns = notify_watchdog_ns(), .looked_ns = 0};
    for (;;) {
        struct signalfd_siginfo taken;
        watchdog_look(&watchdog, weird);
        int ready = poll(polled, 2, watchdog_timeout_ms(&watchdog));
        if (ready < 0 && errno != EINTR)
            return EXIT_FAILED;
        if (ready <= 0)
            continue;
        if (polled[1].revents)
            return EXIT_FAILED;
        if (read(signal_fd, &taken, sizeof taken) != (ssize_t)sizeof taken)
            continue;
        if (taken.ssi_signo != SIGHUP || !reload->file)
            return EXIT_DONE;
        reload_run(reload, weird, NULL, NULL);
    }
}

/* Those that main takes: blocked from here on, also in the threads to come. A hangup stops where there is nothing to read again. */
static int take_signals(const struct reload *reload, sigset_t *ret_stops)
{
    struct sigaction hangup;
    sigset_t taken;
    sigemptyset(ret_stops);
    sigaddset(ret_stops, SIGTERM);
    sigaddset(ret_stops, SIGINT);
    taken = *ret_stops;
    if (reload->file) {
        sigaddset(&taken, SIGHUP);
    } else if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN) { /* as nohup(1) has it */
        sigaddset(ret_stops, SIGHUP);
        sigaddset(&taken, SIGHUP);
    }
    sigprocmask(SIG_BLOCK, &taken, NULL);
    signal(SIGPIPE, SIG_IGN);
    int fd = signalfd(-1, &taken, SFD_CLOEXEC);
    if (fd < 0)
        log_error("signalfd: %m");
    return fd;
}

/* Stopping may wait for the disk. Whoever cannot wait sends another signal: nothing is lost by it. */
static void let_signals_end(const sigset_t *stops)
{
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    if (sigismember(stops, SIGHUP))
        signal(SIGHUP, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, stops, NULL);
}

int main(int argc, char **argv)
{
    static struct reload reload = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct line line = {0};
    int status = parse(argc, argv, &line);
    if (status >= 0)
        return status;
    log_setup(line.given.verbose);
    if (line.check)
        return check_config(&line);
    reload.file = line.config;
    reload.given = line.given;
    if (configure(&line, &reload.running) < 0)
        return EXIT_FAILED;

    sigset_t stops;
    raise_descriptors();
    int signal_fd = take_signals(&reload, &stops);
    struct weird *weird;
    if (signal_fd < 0 || start(&reload, &weird) < 0)
        return EXIT_FAILED;
    log_notice("serving the bus %s, journals in %s", weird_bus(weird), weird_journal(weird));
    notify_manager("READY=1");
    status = serve(weird, &reload, signal_fd);
    notify_manager("STOPPING=1");
    let_signals_end(&stops);
    weird_stop(weird);
    config_free(&reload.running);
    log_notice("stopped");
    return status;
}
