/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/demo_show.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/number.h"
#include "cli/output.h"
#include "cli/pace.h"

static const uint64_t terminal_every_ns = UINT64_C(100000000);
static const uint64_t line_every_ns = UINT64_C(1000000000);

static FILE *show;
static bool terminal;

/* What the rates are counted from. */
static struct {
    uint64_t instant_ns, published, consumed;
    bool on_screen; /* the status is, in two lines, and must be cleared before anything else */
} last;

void demo_show_start(bool json)
{
    show = json ? stderr : stdout;
    terminal = isatty(fileno(show));
    memset(&last, 0, sizeof last);
    last.instant_ns = pace_now_ns();
}

static void clear_status(void)
{
    if (last.on_screen)
        fputs("\r\033[K\033[A\033[K", show);
    last.on_screen = false;
}

/* Two lines of at most the terminal's width, or one line. */
static void print_status(const char *first, const char *second)
{
    struct winsize size = {0};
    if (!terminal) {
        fprintf(show, "%s; %s\n", first, second);
    } else {
        int width = ioctl(fileno(show), TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1 : 79;
        fprintf(show, "%.*s\n%.*s", width, first, width, second);
    }
    last.on_screen = terminal;
    fflush(show);
}

void demo_show_status(struct demo *demo, const struct weir_ring_info *info)
{
    struct number_text a, b, c, d, e;
    char first[160], second[160];
    uint64_t now_ns = pace_now_ns();
    if (now_ns - last.instant_ns < (terminal ? terminal_every_ns : line_every_ns))
        return;
    double seconds = (double)(now_ns - last.instant_ns) / 1e9;
    uint64_t published = demo_published(demo);
    const struct demo_consumer *slow = &demo->consumers[DEMO_SLOW];
    uint64_t consumed = demo_consumed(&slow->report);
    uint64_t published_now = published > last.published ? published - last.published : 0;
    uint64_t consumed_now = consumed > last.consumed ? consumed - last.consumed : 0;
    uint64_t behind = info->visible > slow->report.position ? info->visible - slow->report.position : 0;
    uint64_t p50_ns = demo_latency_quantile(&demo->latency_recent, 0.5);
    uint64_t p99_ns = demo_latency_quantile(&demo->latency_recent, 0.99);
    int used = snprintf(first, sizeof first, "%5.1f s  published %s (%s/s)", demo_elapsed(demo),
                        number_grouped(&a, published), number_grouped(&b, (uint64_t)((double)published_now / seconds)));
    if (p50_ns > 0 && used > 0 && (size_t)used < sizeof first)
        snprintf(first + used, sizeof first - (size_t)used, ", p50 %s, p99 %s", number_span(&a, p50_ns),
                 number_span(&b, p99_ns));
    snprintf(second, sizeof second, "memory %s, disk %s; consumed %s (%s/s), behind %s",
             number_bytes(&a, (double)(info->visible - info->memory_position)),
             number_bytes(&b, (double)(info->durable - info->first_position)), number_grouped(&c, consumed),
             number_grouped(&d, (uint64_t)((double)consumed_now / seconds)), number_bytes(&e, (double)behind));
    clear_status();
    print_status(first, second);
    memset(&demo->latency_recent, 0, sizeof demo->latency_recent);
    last.instant_ns = now_ns;
    last.published = published;
    last.consumed = consumed;
}

void demo_show_event(const struct demo *demo, const char *format, ...)
{
    va_list arguments;
    clear_status();
    fprintf(show, "%5.1f s  * ", demo_elapsed(demo));
    va_start(arguments, format);
    vfprintf(show, format, arguments);
    va_end(arguments);
    putc('\n', show);
    fflush(show);
}

void demo_check(struct demo *demo, const char *name, bool ok, const char *format, ...)
{
    va_list arguments;
    if (demo->check_count == DEMO_CHECKS_MAX)
        return;
    struct demo_check *check = &demo->checks[demo->check_count++];
    check->name = name;
    check->ok = ok;
    va_start(arguments, format);
    vsnprintf(check->text, sizeof check->text, format, arguments);
    va_end(arguments);
}

static json_t *consumer_json(const struct demo_consumer *consumer)
{
    json_t *object = json_object();
    json_t *digests = json_array();
    for (int i = 0; i < DEMO_PUBLISHERS; i++)
        json_array_append_new(digests, json_sprintf("%016" PRIx64, consumer->report.digests[i].hash));
    json_object_set_new(object, "name", json_string(consumer->name));
    json_object_set_new(object, "messages", output_number(demo_consumed(&consumer->report)));
    json_object_set_new(object, "from_journal", output_number(consumer->report.from_journal));
    json_object_set_new(object, "repeated", output_number(consumer->report.repeated));
    json_object_set_new(object, "digests", digests);
    return object;
}

static void summary_json(const struct demo *demo, bool ok)
{
    json_t *object = json_object();
    json_t *publishers = json_array(), *consumers = json_array(), *checks = json_array();
    json_object_set_new(object, "seconds", json_real(demo_elapsed(demo)));
    json_object_set_new(object, "messages", output_number(demo->message_count));
    json_object_set_new(object, "bytes", output_number(demo->message_bytes));
    json_object_set_new(object, "publish_p50_ns", output_number(demo_latency_quantile(&demo->latency, 0.5)));
    json_object_set_new(object, "publish_p99_ns", output_number(demo_latency_quantile(&demo->latency, 0.99)));
    json_object_set_new(object, "lag_max_bytes", output_number(demo->lag_max_bytes));
    for (int i = 0; i < DEMO_PUBLISHERS; i++) {
        const struct demo_publisher *publisher = &demo->publishers[i];
        json_t *one = json_object();
        json_object_set_new(one, "name", json_string(publisher->name));
        json_object_set_new(one, "messages", output_number(publisher->count));
        json_object_set_new(one, "digest", json_sprintf("%016" PRIx64, publisher->expected.hash));
        json_array_append_new(publishers, one);
    }
    for (int i = 0; i < DEMO_CONSUMERS; i++)
        json_array_append_new(consumers, consumer_json(&demo->consumers[i]));
    for (int i = 0; i < demo->check_count; i++) {
        json_t *check = json_object();
        json_object_set_new(check, "name", json_string(demo->checks[i].name));
        json_object_set_new(check, "ok", json_boolean(demo->checks[i].ok));
        json_object_set_new(check, "text", json_string(demo->checks[i].text));
        json_array_append_new(checks, check);
    }
    json_object_set_new(object, "publishers", publishers);
    json_object_set_new(object, "consumers", consumers);
    json_object_set_new(object, "checks", checks);
    json_object_set_new(object, "ok", json_boolean(ok));
    output_json(object);
}

bool demo_show_summary(const struct demo *demo, bool json)
{
    int passed = 0;
    for (int i = 0; i < demo->check_count; i++)
        passed += demo->checks[i].ok;
    bool ok = passed > 0 && passed == demo->check_count;
    clear_status();
    fprintf(show, "\nWhat was shown, each against what was put in (%.1f s):\n", demo_elapsed(demo));
    for (int i = 0; i < demo->check_count; i++)
        fprintf(show, "  %s  %s\n", demo->checks[i].ok ? "ok    " : "FAILED", demo->checks[i].text);
    fprintf(show, "%d of %d checks passed.\n", passed, demo->check_count);
    fflush(show);
    if (json)
        summary_json(demo, ok);
    return ok;
}
