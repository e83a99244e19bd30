/* SPDX-License-Identifier: Apache-2.0 */
/* weir journal verify|repair: with progress on a terminal. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/journal.h"
#include "cli/number.h"
#include "cli/output.h"
#include "cli/pace.h"
#include "cli/signals.h"

#define PROGRESS_NS UINT64_C(200000000)

struct work {
    const struct call *call;
    uint64_t began_ns, shown_ns;
    uint64_t done_bytes;
    uint64_t known_count;
    bool shows;   /* progress, on a terminal */
    bool dry_run; /* of repair */
};

static void clear_line(const struct work *work)
{
    if (work->shows && work->shown_ns)
        fprintf(stderr, "\r\033[K");
}

static void show_progress(const struct work *work, uint64_t done_bytes, uint64_t total_bytes, uint64_t now_ns)
{
    struct number_text done, total, rate;
    double seconds = (double)(now_ns - work->began_ns) / 1e9, per_second = (double)done_bytes / seconds;
    fprintf(stderr, "\r\033[K%s of %s, %s", number_bytes(&done, (double)done_bytes),
            number_bytes(&total, (double)total_bytes), number_per_second(&rate, per_second));
    if (done_bytes > 0 && done_bytes <= total_bytes)
        fprintf(stderr, ", %.0f s left", (double)(total_bytes - done_bytes) / per_second);
    fflush(stderr);
}

static int take_progress(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    struct work *work = ctx;
    uint64_t now_ns = pace_now_ns();
    work->done_bytes = done_bytes;
    if (work->shows && now_ns - (work->shown_ns ? work->shown_ns : work->began_ns) >= PROGRESS_NS) {
        work->shown_ns = now_ns;
        show_progress(work, done_bytes, total_bytes, now_ns);
    }
    return signals_stop() ? -EINTR : 0;
}

static struct work work_start(const struct call *call)
{
    return (struct work){.call = call, .began_ns = pace_now_ns(), .shows = isatty(STDERR_FILENO)};
}

/* -- verify --------------------------------------------------------------------------------------------------------- */

static json_t *fault_json(const struct work *work, const struct weir_journal_fault *fault)
{
    json_t *object = json_object();
    json_object_set_new(object, "journal", json_string(work->call->operands[0]));
    json_object_set_new(object, "file", json_string(fault->file));
    json_object_set_new(object, "offset", output_number(fault->offset));
    json_object_set_new(object, "bytes", output_number(fault->bytes));
    if (fault->from < fault->to) {
        json_object_set_new(object, "from", output_number(fault->from));
        json_object_set_new(object, "to", output_number(fault->to));
    }
    json_object_set_new(object, "known", json_boolean(fault->known));
    json_object_set_new(object, "fault", json_string(fault->what));
    return object;
}

static void take_fault(void *ctx, const struct weir_journal_fault *fault)
{
    struct work *work = ctx;
    work->known_count += fault->known != 0;
    clear_line(work);
    if (work->call->json) {
        output_json(fault_json(work, fault));
    } else {
        printf("%s: %s: ", work->call->operands[0], fault->file);
        if (fault->bytes)
            printf("bytes %" PRIu64 " to %" PRIu64 ": ", fault->offset, fault->offset + fault->bytes);
        printf("%s", fault->what);
        if (fault->from < fault->to)
            printf(": positions %" PRIu64 " to %" PRIu64, fault->from, fault->to);
        printf("%s\n", fault->known ? " (known to the ledger)" : "");
    }
    output_flush();
}

static void print_verified(const struct work *work, uint64_t fault_count)
{
    struct number_text bytes, rate;
    double seconds = (double)(pace_now_ns() - work->began_ns) / 1e9;
    if (work->call->json) {
        json_t *object = json_object();
        json_object_set_new(object, "journal", json_string(work->call->operands[0]));
        json_object_set_new(object, "faults", output_number(fault_count));
        json_object_set_new(object, "known_faults", output_number(work->known_count));
        json_object_set_new(object, "verified_bytes", output_number(work->done_bytes));
        json_object_set_new(object, "seconds", json_real(seconds));
        output_json(object);
        return;
    }
    printf("%s: %s verified, %s: %" PRIu64 " new faults, %" PRIu64 " known\n", work->call->operands[0],
           number_bytes(&bytes, (double)work->done_bytes),
           number_per_second(&rate, seconds > 0 ? (double)work->done_bytes / seconds : 0), fault_count,
           work->known_count);
}

static int verify_run(const struct call *call)
{
    int exit_code = EXIT_FAILED;
    struct weir_journal *journal = journal_open_operand(call, &exit_code);
    if (!journal)
        return exit_code;
    struct work work = work_start(call);
    int rc = weir_journal_verify(journal, take_fault, take_progress, &work);
    clear_line(&work);
    if (rc < 0) {
        exit_code = complain_failed(rc, call->operands[0]);
    } else {
        print_verified(&work, (uint64_t)rc);
        exit_code = rc == 0 ? EXIT_DONE : EXIT_FAILED;
    }
    weir_journal_close(journal);
    return exit_code;
}

static const struct option verify_options[] = {JOURNAL_OPTION, OPTIONS_END};

const struct command journal_verify_command = {
    .words = "journal verify",
    .summary = "Check every checksum of a journal, live or dead, without writing to it",
    .operands = "NAME",
    .operands_min = 1,
    .operands_max = 1,
    .options = verify_options,
    .arguments_bytes = sizeof(struct journal_place),
    .text =
        "Prints one line a fault, with its bytes in the file and its positions, then a summary. Of a journal that "
        "weird\n"
        "serves it reads what is durable. Exit status 0: no faults but those that the ledger tells; 1: there are.\n",
    .run = verify_run,
};

/* -- repair --------------------------------------------------------------------------------------------------------- */

struct repair_arguments {
    struct journal_place place;
    int dry_run;
};
static const struct option repair_options[] = {
    JOURNAL_OPTION,
    {"--dry-run", NULL, OPTION_SET, offsetof(struct repair_arguments, dry_run), 1, 0,
     "say what would be done, and write nothing"},
    OPTIONS_END,
};

static void take_step(void *ctx, const char *text)
{
    struct work *work = ctx;
    clear_line(work);
    if (work->call->json) {
        json_t *object = json_object();
        json_object_set_new(object, "journal", json_string(work->call->operands[0]));
        json_object_set_new(object, "step", json_string(text));
        output_json(object);
    } else {
        printf("%s: %s\n", work->call->operands[0], text);
    }
    output_flush();
}

static void print_repaired(const struct work *work, uint64_t step_count)
{
    if (work->call->json) {
        json_t *object = json_object();
        json_object_set_new(object, "journal", json_string(work->call->operands[0]));
        json_object_set_new(object, "steps", output_number(step_count));
        json_object_set_new(object, "dry_run", json_boolean(work->dry_run));
        output_json(object);
    } else if (step_count == 0) {
        printf("%s: there is nothing to repair\n", work->call->operands[0]);
    } else {
        printf("%s: %" PRIu64 " step%s %s\n", work->call->operands[0], step_count, step_count == 1 ? "" : "s",
               work->dry_run ? "to be done: repair it without --dry-run" : "done");
    }
}

static int repair_run(const struct call *call)
{
    const struct repair_arguments *arguments = call->arguments;
    int exit_code = EXIT_FAILED;
    struct weir_journal *journal = journal_open_operand(call, &exit_code);
    if (!journal)
        return exit_code;
    struct work work = work_start(call);
    work.dry_run = arguments->dry_run != 0;
    int rc = weir_journal_repair(journal, arguments->dry_run, take_step, take_progress, &work);
    clear_line(&work);
    if (rc < 0) {
        exit_code = complain_failed(rc, call->operands[0]);
    } else {
        print_repaired(&work, (uint64_t)rc);
        exit_code = EXIT_DONE;
    }
    weir_journal_close(journal);
    return exit_code;
}

const struct command journal_repair_command = {
    .words = "journal repair",
    .summary = "Bring a damaged journal to a state in which weird opens it",
    .operands = "NAME",
    .operands_min = 1,
    .operands_max = 1,
    .options = repair_options,
    .arguments_bytes = sizeof(struct repair_arguments),
    .text = "While weird is stopped. No message that can be read is lost; ranges that cannot are noted in the ledger, "
            "so that\n"
            "readers are told. Exit status 0: done, or there is nothing to do; 1: failed, or weird has the journal.\n",
    .run = repair_run,
};
