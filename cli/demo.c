/* SPDX-License-Identifier: Apache-2.0 */
/* weir demo: directs publishers, consumers and weird through a script in which three of them are killed. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>

#include <weir.h>

#include "cli/command.h"
#include "cli/demo_show.h"
#include "cli/demo_stage.h"
#include "cli/number.h"
#include "cli/output.h"
#include "cli/pace.h"
#include "cli/programs.h"
#include "cli/signals.h"

static const uint64_t look_every_ns = UINT64_C(50000000);

struct demo_arguments {
    uint64_t seconds;
    const char *input;
};
static const struct demo_arguments demo_defaults = {DEMO_FULL_SECONDS, NULL};
static const struct option demo_options[] = {
    {"--seconds", "N", OPTION_COUNT, offsetof(struct demo_arguments, seconds), 2, 3600,
     "about how long it takes, 2 to 3600 (default: 30); below 30 part of the input is used"},
    {"--input", "FILE", OPTION_TEXT, offsetof(struct demo_arguments, input), 0, 0,
     "lines to publish (default: all of dpkg's *.list and *.md5sums)"},
    {NULL, NULL, OPTION_SET, 0, 0, 0, NULL},
};

static int look_after(struct demo_child *child, const char *name, bool may_end)
{
    int status = 0;
    if (!demo_child_ended(child, &status) || (may_end && WIFEXITED(status) && WEXITSTATUS(status) == 0))
        return 0;
    if (WIFSIGNALED(status))
        complain("%s died of signal %d (%s)", name, WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        complain("%s ended with exit status %d", name, WEXITSTATUS(status));
    return -ECHILD;
}

static int look_after_all(struct demo *demo)
{
    int rc = look_after(&demo->daemon, "weird", false);
    for (int i = 0; i < DEMO_PUBLISHERS && rc == 0; i++)
        rc = look_after(&demo->publishers[i].child, demo->publishers[i].name, true);
    for (int i = 0; i < DEMO_CONSUMERS && rc == 0; i++)
        rc = look_after(&demo->consumers[i].child, demo->consumers[i].name, true);
    return rc;
}

static void sleep_a_little(const struct demo *demo)
{
    struct pollfd reports[DEMO_PUBLISHERS];
    for (int i = 0; i < DEMO_PUBLISHERS; i++) {
        reports[i].fd = demo->publishers[i].child.pid > 0 ? demo->publishers[i].child.reports_fd : -1;
        reports[i].events = POLLIN;
    }
    poll(reports, DEMO_PUBLISHERS, 20);
}

/* How far the slow consumer is behind, and the status line. */
static void look_at_ring(struct demo *demo)
{
    uint64_t now_ns = pace_now_ns();
    if (now_ns - demo->looked_ns < look_every_ns)
        return;
    demo->looked_ns = now_ns;
    struct weir_ring_info info = demo_ring_info(demo);
    uint64_t slow_position = demo->consumers[DEMO_SLOW].report.position;
    if (slow_position > 0 && info.visible > slow_position && info.visible - slow_position > demo->lag_max_bytes)
        demo->lag_max_bytes = info.visible - slow_position;
    if (demo->step > 0)
        demo_show_status(demo, &info);
}

static int play(struct demo *demo)
{
    double deadline = 2 * demo->seconds + 30;
    while (!demo_script_ended(demo)) {
        if (signals_stop()) {
            complain("interrupted: all that the demo made is removed");
            return EXIT_FAILED;
        }
        if (demo_elapsed(demo) > deadline) {
            complain("still waiting for %s after %.0f s: giving up", demo_script_waits_for(demo), deadline);
            return EXIT_FAILED;
        }
        sleep_a_little(demo);
        demo_read_reports(demo);
        if (look_after_all(demo) < 0)
            return EXIT_FAILED;
        look_at_ring(demo);
        if (demo_script_go_on(demo) != EXIT_DONE)
            return EXIT_FAILED;
    }
    return EXIT_DONE;
}

/* -- The checks ----------------------------------------------------------------------------------------------------- */

static bool digests_match(const struct demo *demo, const struct demo_consumer *consumer)
{
    for (int i = 0; i < DEMO_PUBLISHERS; i++) {
        const struct demo_digest *expected = &demo->publishers[i].expected;
        const struct demo_digest *got = &consumer->report.digests[i];
        if (got->count != expected->count || got->hash != expected->hash)
            return false;
    }
    return consumer->report.misplaced == 0 && consumer->report.gaps == 0;
}

static void check_all(struct demo *demo)
{
    struct number_text a, b, c;
    const struct demo_consumer *slow = &demo->consumers[DEMO_SLOW], *fast = &demo->consumers[DEMO_FAST],
                               *late = &demo->consumers[DEMO_LATE];
    uint64_t published = demo_published(demo);
    demo_check(demo, "published", published == demo->message_count, "%s of %s messages published by 3 named publishers",
               number_grouped(&a, published), number_grouped(&b, demo->message_count));
    demo_check(demo, "fast", digests_match(demo, fast) && fast->report.repeated == 0,
               "fast consumer: %s messages, each once, in order per publisher, digests equal",
               number_grouped(&a, demo_consumed(&fast->report)));
    demo_check(demo, "slow", digests_match(demo, slow),
               "slow consumer: %s messages, each processed once, in order per publisher, digests equal",
               number_grouped(&a, demo_consumed(&slow->report)));
    demo_check(demo, "peak", demo->lag_max_bytes > demo->memory_limit_bytes && slow->report.from_journal > 0,
               "it fell %s behind (memory limit %s), read %s messages from the journal, and held up nobody: all was "
               "published %.1f s before it was done",
               number_bytes(&a, (double)demo->lag_max_bytes), number_bytes(&c, (double)demo->memory_limit_bytes),
               number_grouped(&b, slow->report.from_journal),
               (double)(demo->slow_done_ns - demo->publishers_done_ns) / 1e9);
    demo_check(demo, "daemon_killed",
               demo->published_in_outage > 0 && demo_ring_info(demo).durable > demo->durable_at_kill,
               "weird killed and started again after %.1f s: %s messages published meanwhile, all of them on disk",
               demo->outage_seconds, number_grouped(&a, demo->published_in_outage));
    demo_check(demo, "publisher_killed",
               demo->publisher_resumed_after >= demo->publisher_killed_after && demo->publisher_killed_after > 0 &&
                   demo->publisher_resumed_after < demo->publishers[DEMO_KILLED_PUBLISHER].count,
               "publisher killed and started again: resumed after its message %s",
               number_grouped(&a, demo->publisher_resumed_after));
    demo_check(demo, "consumer_killed",
               demo->consumer_resumed_at > 0 && demo->consumer_resumed_after > 0 &&
                   demo->consumer_resumed_after < demo->message_count,
               "consumer killed and started again: resumed at its saved position, with %s messages done",
               number_grouped(&a, demo->consumer_resumed_after));
    demo_check(demo, "late", digests_match(demo, late) && late->report.repeated == 0 && late->report.from_journal > 0,
               "late subscriber replays everything from the journal: %s messages (%s read from disk), digests equal",
               number_grouped(&a, demo_consumed(&late->report)), number_grouped(&b, late->report.from_journal));
}

static int run_demo(struct demo *demo, const struct demo_arguments *arguments, bool json)
{
    int exit_code = demo_stage_set(demo, arguments->input);
    if (exit_code != EXIT_DONE)
        return exit_code;
    demo->began_ns = pace_now_ns();
    if (demo_start_daemon(demo) < 0)
        return EXIT_FAILED;
    exit_code = play(demo);
    if (exit_code != EXIT_DONE) {
        demo_stage_print_log(demo);
        return exit_code;
    }
    check_all(demo);
    return demo_show_summary(demo, json) ? EXIT_DONE : EXIT_FAILED;
}

static int demo_run(const struct call *call)
{
    const struct demo_arguments *arguments = call->arguments;
    static struct demo demo = {
        .log_fd = -1,
        .publishers = {{.child = DEMO_CHILD_NONE}, {.child = DEMO_CHILD_NONE}, {.child = DEMO_CHILD_NONE}},
        .consumers =
            {
                [DEMO_SLOW] = {.name = "slow", .keeps = true, .child = DEMO_CHILD_NONE},
                [DEMO_FAST] = {.name = "fast", .child = DEMO_CHILD_NONE},
                [DEMO_LATE] = {.name = "late", .child = DEMO_CHILD_NONE},
            },
        .daemon = DEMO_CHILD_NONE,
    };
    char self[512];
    demo.seconds = (double)arguments->seconds;
    int rc = program_self(self, sizeof self);
    if (rc < 0) {
        complain("cannot find my own program: /proc/self/exe: %s", strerror(-rc));
        return EXIT_FAILED;
    }
    demo.self = self;
    program_weird(self, demo.weird, sizeof demo.weird);
    demo_show_start(call->json);
    int exit_code = run_demo(&demo, arguments, call->json);
    demo_stage_clear(&demo);
    return exit_code;
}

const struct command demo_command = {
    .words = "demo",
    .summary = "Show all of it with input from this machine, in about 30 seconds",
    .operands = "",
    .options = demo_options,
    .defaults = &demo_defaults,
    .arguments_bytes = sizeof demo_defaults,
    .text = "Makes a bus and a journal of its own, and removes both at the end, also after an error or a signal that "
            "can be\n"
            "caught. weird is $WEIRD, or lies beside weir, or on the search path. Closes with what was shown, each "
            "with its\n"
            "check; exit 1 if one failed.\n",
    .own_bus = 1,
    .run = demo_run,
};
