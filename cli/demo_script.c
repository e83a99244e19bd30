/* SPDX-License-Identifier: Apache-2.0 */
/* The demo's script: each step waits until it is time, then acts. */
#include <errno.h>
#include <inttypes.h>

#include "cli/command.h"
#include "cli/demo_show.h"
#include "cli/demo_stage.h"
#include "cli/number.h"
#include "cli/output.h"
#include "cli/pace.h"

/* -- Orders to the publishers ---- */

/* A share of its part, at that rate for all publishers together (0: full speed). */
static int order_all(struct demo *demo, double share, double seconds)
{
    for (int i = 0; i < DEMO_PUBLISHERS; i++) {
        struct demo_publisher *publisher = &demo->publishers[i];
        uint64_t until = share >= 1 ? publisher->count : (uint64_t)((double)publisher->count * share);
        uint64_t more = until > publisher->order.until ? until - publisher->order.until : 0;
        publisher->order.until = until;
        publisher->order.per_second = seconds > 0 ? (double)(more + 1) / seconds : 0;
        if (publisher->child.pid > 0 &&
            demo_tell(publisher->child.orders_fd, &publisher->order, sizeof publisher->order, true) < 0) {
            complain("%s takes no orders", publisher->name);
            return -EPIPE;
        }
    }
    return 0;
}

static bool order_fulfilled(const struct demo_publisher *publisher)
{
    return publisher->report.sequence >= publisher->order.until;
}

static bool orders_fulfilled(struct demo *demo)
{
    for (int i = 0; i < DEMO_PUBLISHERS; i++)
        if (!order_fulfilled(&demo->publishers[i]))
            return false;
    return true;
}

/* -- The steps -------------------------------------------------------- */

static bool daemon_serves(struct demo *demo)
{
    return demo_ring_info(demo).daemon_alive == 1;
}

static bool at(const struct demo *demo, double share)
{
    return demo_elapsed(demo) >= share * demo_consume_seconds(demo);
}

static int start_all(struct demo *demo)
{
    struct number_text count, bytes, lines, files, memory;
    demo_show_event(demo, "input: %s lines of %s file%s, %s messages (%s) of them",
                    number_grouped(&lines, demo->input_lines), number_grouped(&files, demo->input_files),
                    demo->input_files == 1 ? "" : "s", number_grouped(&count, demo->message_count),
                    number_bytes(&bytes, (double)demo->message_bytes));
    demo_show_event(demo, "weird drains the ring (memory limit %s); 3 named publishers burst into it, in two waves",
                    number_bytes(&memory, (double)demo->memory_limit_bytes));
    demo_show_event(demo, "one consumer takes %.0f a second, and will fall behind; another keeps up",
                    demo->consumers[DEMO_SLOW].per_second);
    int rc = demo_start_consumer(demo, &demo->consumers[DEMO_SLOW]);
    if (rc == 0)
        rc = demo_start_consumer(demo, &demo->consumers[DEMO_FAST]);
    for (int i = 0; i < DEMO_PUBLISHERS && rc == 0; i++)
        rc = demo_start_publisher(demo, &demo->publishers[i]);
    return rc < 0 ? rc : order_all(demo, 0.40, 0);
}

static int end_first_wave(struct demo *demo)
{
    struct number_text count;
    demo_show_event(demo, "first wave is published (%s messages); a trickle goes on",
                    number_grouped(&count, demo_published(demo)));
    return order_all(demo, 0.46, 0.40 * demo_consume_seconds(demo));
}

static bool time_to_kill_daemon(struct demo *demo)
{
    return at(demo, 0.25);
}

static int kill_daemon(struct demo *demo)
{
    demo->durable_at_kill = demo_ring_info(demo).durable;
    demo_child_kill(&demo->daemon);
    demo->published_at_kill = demo_published(demo);
    demo->outage_seconds = demo_elapsed(demo);
    demo_show_event(demo, "weird killed (SIGKILL); publishers and consumers go on");
    return 0;
}

/* A second of the full length. */
static bool time_to_restart_daemon(struct demo *demo)
{
    double outage = demo->seconds / DEMO_FULL_SECONDS;
    return demo_elapsed(demo) - demo->outage_seconds >= (outage > 1 ? 1 : outage) &&
           demo_published(demo) > demo->published_at_kill;
}

static int restart_daemon(struct demo *demo)
{
    demo->published_in_outage = demo_published(demo) - demo->published_at_kill;
    demo->outage_seconds = demo_elapsed(demo) - demo->outage_seconds;
    demo_show_event(demo, "weird started again; %" PRIu64 " messages were published meanwhile",
                    demo->published_in_outage);
    return demo_start_daemon(demo);
}

static int end_outage(struct demo *demo)
{
    demo_show_event(demo, "weird serves the ring again; nobody had to reattach");
    return 0;
}

static bool time_for_second_wave(struct demo *demo)
{
    return at(demo, 0.42);
}

static int start_second_wave(struct demo *demo)
{
    demo_show_event(demo, "second wave at full speed");
    return order_all(demo, 0.85, 0);
}

static bool time_to_kill_publisher(struct demo *demo)
{
    const struct demo_publisher *publisher = &demo->publishers[DEMO_KILLED_PUBLISHER];
    return publisher->report.sequence >= publisher->count * 6 / 10;
}

static int kill_publisher(struct demo *demo)
{
    struct demo_publisher *publisher = &demo->publishers[DEMO_KILLED_PUBLISHER];
    struct number_text count;
    demo_child_kill(&publisher->child);
    demo_read_reports(demo);
    demo_child_close(&publisher->child);
    demo->publisher_killed_after = publisher->report.sequence;
    demo_show_event(demo, "publisher %s killed (SIGKILL) in the middle of it, after message %s at least",
                    publisher->name, number_grouped(&count, publisher->report.sequence));
    return demo_start_publisher(demo, publisher);
}

static bool publisher_is_back(struct demo *demo)
{
    return demo->publishers[DEMO_KILLED_PUBLISHER].report.sequence > 0;
}

static int greet_publisher(struct demo *demo)
{
    struct demo_publisher *publisher = &demo->publishers[DEMO_KILLED_PUBLISHER];
    struct number_text count;
    demo->publisher_resumed_after = publisher->report.resumed_after;
    demo_show_event(demo, "publisher %s is back and goes on after its last message, %s", publisher->name,
                    number_grouped(&count, publisher->report.resumed_after));
    return 0;
}

static int end_second_wave(struct demo *demo)
{
    demo_show_event(demo, "second wave is published; the rest trickles in");
    return order_all(demo, 1, 0.25 * demo_consume_seconds(demo));
}

static bool time_to_kill_consumer(struct demo *demo)
{
    return at(demo, 0.60);
}

static int kill_consumer(struct demo *demo)
{
    struct demo_consumer *slow = &demo->consumers[DEMO_SLOW];
    struct number_text count;
    demo_child_kill(&slow->child);
    demo_read_reports(demo);
    demo_child_close(&slow->child);
    demo->consumer_killed_after = demo_consumed(&slow->report);
    demo_show_event(demo, "slow consumer killed (SIGKILL) after %s messages at least, and started again",
                    number_grouped(&count, demo->consumer_killed_after));
    return demo_start_consumer(demo, slow);
}

static bool consumer_is_back(struct demo *demo)
{
    return demo->consumers[DEMO_SLOW].report.position > 0;
}

static int greet_consumer(struct demo *demo)
{
    const struct demo_consumer_report *report = &demo->consumers[DEMO_SLOW].report;
    demo->consumer_resumed_at = report->resumed_at;
    demo->consumer_resumed_after = demo_consumed(report);
    demo_show_event(demo, "slow consumer goes on at its saved position, %" PRIu64, report->resumed_at);
    return 0;
}

static int end_publishing(struct demo *demo)
{
    demo->publishers_done_ns = pace_now_ns();
    demo_show_event(demo, "all is published");
    return 0;
}

static bool all_is_durable(struct demo *demo)
{
    struct weir_ring_info info = demo_ring_info(demo);
    return info.visible > 0 && info.durable >= info.visible;
}

static int end_draining(struct demo *demo)
{
    demo_show_event(demo, "all is on disk, synced; the slow consumer reads on from there");
    return 0;
}

static bool slow_and_fast_are_done(struct demo *demo)
{
    return demo->consumers[DEMO_SLOW].report.done && demo->consumers[DEMO_FAST].report.done;
}

static int start_late(struct demo *demo)
{
    demo->slow_done_ns = pace_now_ns();
    demo_show_event(demo, "the slow consumer has everything; a late subscriber replays from the journal");
    return demo_start_consumer(demo, &demo->consumers[DEMO_LATE]);
}

static bool late_is_done(struct demo *demo)
{
    return demo->consumers[DEMO_LATE].report.done;
}

static const struct step {
    const char *waits_for;
    bool (*ready)(struct demo *demo);
    int (*act)(struct demo *demo); /* NULL: nothing; below 0: the demo has failed */
} steps[] = {
    {"weird to serve the ring", daemon_serves, start_all},
    {"the first wave", orders_fulfilled, end_first_wave},
    {"the moment to kill weird", time_to_kill_daemon, kill_daemon},
    {"messages published without weird", time_to_restart_daemon, restart_daemon},
    {"weird to serve the ring again", daemon_serves, end_outage},
    {"the second wave to begin", time_for_second_wave, start_second_wave},
    {"the publisher to be in the middle of it", time_to_kill_publisher, kill_publisher},
    {"the publisher to come back", publisher_is_back, greet_publisher},
    {"the second wave", orders_fulfilled, end_second_wave},
    {"the moment to kill the slow consumer", time_to_kill_consumer, kill_consumer},
    {"the slow consumer to come back", consumer_is_back, greet_consumer},
    {"the last messages", orders_fulfilled, end_publishing},
    {"the disk", all_is_durable, end_draining},
    {"the slow consumer", slow_and_fast_are_done, start_late},
    {"the late subscriber", late_is_done, NULL},
};
enum { STEP_COUNT = sizeof steps / sizeof steps[0] };

int demo_script_go_on(struct demo *demo)
{
    for (; demo->step < STEP_COUNT && steps[demo->step].ready(demo); demo->step++)
        if (steps[demo->step].act && steps[demo->step].act(demo) < 0)
            return EXIT_FAILED;
    return EXIT_DONE;
}

bool demo_script_ended(const struct demo *demo)
{
    return demo->step == STEP_COUNT;
}

const char *demo_script_waits_for(const struct demo *demo)
{
    return demo_script_ended(demo) ? "nothing" : steps[demo->step].waits_for;
}
