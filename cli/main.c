/* SPDX-License-Identifier: Apache-2.0 */
/* `weir`: finds the command, takes its options from its table, calls it. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <weir.h>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/signals.h"

static const struct command *const commands[] = {
    &ring_create_command,
    &ring_ls_command,
    &ring_info_command,
    &ring_check_command,
    &ring_rm_command,
    &group_create_command,
    &group_ls_command,
    &group_info_command,
    &group_rm_command,
    &pub_command,
    &sub_command,
    &stat_command,
    &bench_command,
    &demo_command,
    &demo_publisher_command,
    &demo_consumer_command,
    &daemon_status_command,
    &daemon_reload_command,
    &daemon_verbose_command,
    &daemon_stop_command,
    &journal_ls_command,
    &journal_info_command,
    &journal_gaps_command,
    &journal_verify_command,
    &journal_dump_command,
    &journal_repair_command,
    &journal_pin_command,
    &journal_unpin_command,
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

struct common {
    const char *bus;
    int json;
    int help;
    int version;
};
static const struct option common_options[] = {
    {"--bus", "DIR", OPTION_TEXT, offsetof(struct common, bus), 0, 0,
     "directory of the bus (default: $WEIR_BUS, /run/weir, /dev/shm/weir-UID)"},
    {"--json", NULL, OPTION_SET, offsetof(struct common, json), 1, 0, "one JSON object a line"},
    {"--help", NULL, OPTION_SET, offsetof(struct common, help), 1, 0, "show this and exit"},
    {NULL, NULL, OPTION_SET, 0, 0, 0, NULL},
};
static const struct option version_option = {
    "--version", NULL, OPTION_SET, offsetof(struct common, version), 1, 0, "show the version and exit"};

/* What has been found on the command line so far. */
struct line {
    const char *noun; /* the first word */
    bool noun_only;   /* it wants a verb, which has not been seen */
    const struct command *command;
    struct common common;
    void *arguments;
    const char **operands;
    size_t operand_count;
};

/* -- Help ----------------------------------------------------------------------------------------------------------- */

static void print_option(FILE *out, const struct option *option)
{
    char left[64];
    snprintf(left, sizeof left, "%s%s%s", option->name, option->value ? " " : "", option->value ? option->value : "");
    if (strlen(left) > 22)
        fprintf(out, "  %s\n  %-22s  %s\n", left, "", option->help);
    else
        fprintf(out, "  %-22s  %s\n", left, option->help);
}

static void print_usage_line(FILE *out, const struct command *command)
{
    const char *operands = command->operands ? command->operands : "";
    fprintf(out, "usage: weir %s%s%s [options]\n", command->words, operands[0] ? " " : "", operands);
}

static void print_command_help(const struct command *command)
{
    print_usage_line(stdout, command);
    printf("\n%s.\n\n", command->summary);
    for (const struct option *option = command->options; option && option->name; option++)
        print_option(stdout, option);
    for (const struct option *option = common_options; option->name; option++)
        if (!(command->own_bus && option->offset == offsetof(struct common, bus)))
            print_option(stdout, option);
    if (command->text)
        printf("\n%s", command->text);
}

static bool noun_is(const struct command *command, const char *noun)
{
    size_t bytes = strcspn(command->words, " ");
    return strlen(noun) == bytes && memcmp(command->words, noun, bytes) == 0;
}

/* noun: NULL for all commands. */
static void print_commands(FILE *out, const char *noun)
{
    fprintf(out, "usage: weir [--bus DIR] %s [operands] [options]\n\n", noun ? noun : "COMMAND");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (!commands[i]->hidden && (!noun || noun_is(commands[i], noun)))
            fprintf(out, "  %-14s  %s\n", commands[i]->words, commands[i]->summary);
    fprintf(out, "\n");
    for (const struct option *option = common_options; option->name; option++)
        print_option(out, option);
    if (!noun)
        print_option(out, &version_option);
    fprintf(out, "\n'weir COMMAND --help' shows a command's own options; so does weir(1).\n"
                 "Exit status: 0 done, 1 failed, 2 wrong usage.\n");
}

static int usage_error(const struct line *line, const char *what, const char *about)
{
    if (about)
        complain("%s: %s: see below, or add --help", what, about);
    else
        complain("%s: see below, or add --help", what);
    if (line->command)
        print_usage_line(stderr, line->command);
    else
        print_commands(stderr, line->noun_only ? line->noun : NULL);
    return EXIT_USAGE;
}

/* -- The command line ----------------------------------------------------------------------------------------------- */

static int choose_command(struct line *line, const char *word)
{
    char words[64];
    bool is_noun = false;
    if (line->noun)
        snprintf(words, sizeof words, "%s %s", line->noun, word);
    else
        snprintf(words, sizeof words, "%s", word);
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i]->words, words) == 0)
            line->command = commands[i];
        is_noun = is_noun || (!line->noun && noun_is(commands[i], word));
    }
    if (!line->command && !is_noun)
        return usage_error(line, "unknown command", words);
    line->noun = line->noun ? line->noun : word;
    line->noun_only = !line->command;
    if (line->noun_only)
        return EXIT_DONE;
    complain_as(line->command->words);
    line->arguments = calloc(1, line->command->arguments_bytes + 1);
    if (!line->arguments) {
        complain("not enough memory");
        return EXIT_FAILED;
    }
    if (line->command->defaults)
        memcpy(line->arguments, line->command->defaults, line->command->arguments_bytes);
    return EXIT_DONE;
}

/* argv[*index] is an option: takes it, and its value from the next word where it has one and none is attached. */
static int take_option(struct line *line, char **argv, int *index)
{
    const char *word = argv[*index];
    size_t name_bytes = strcspn(word, "=");
    const char *value = word[name_bytes] == '=' ? word + name_bytes + 1 : NULL;
    void *into = &line->common;
    const struct option *option = option_find(common_options, word, name_bytes);
    if (!option && strcmp(word, "-h") == 0)
        option = option_find(common_options, "--help", strlen("--help"));
    if (!option && !line->noun && strcmp(word, version_option.name) == 0)
        option = &version_option;
    if (!option && line->command) {
        option = option_find(line->command->options, word, name_bytes);
        into = line->arguments;
    }
    if (!option)
        return usage_error(line, "unknown option", word);
    if (!option->value && value)
        return usage_error(line, "the option takes no value", word);
    if (option->value && !value) {
        value = argv[*index + 1];
        if (!value)
            return usage_error(line, "the option needs a value", word);
        ++*index;
    }
    char why[128];
    if (option_take(option, value, into, why, sizeof why) != 0) {
        char about[512];
        snprintf(about, sizeof about, "%s %s", option->name, value);
        return usage_error(line, about, why);
    }
    if (line->common.bus && !line->common.bus[0])
        return usage_error(line, "--bus", "names no directory");
    return EXIT_DONE;
}

static int take_words(struct line *line, char **argv)
{
    bool options_end = false;
    for (int i = 1; argv[i]; i++) {
        const char *word = argv[i];
        int rc = EXIT_DONE;
        if (!options_end && strcmp(word, "--") == 0)
            options_end = true;
        else if (!options_end && word[0] == '-' && word[1] != '\0')
            rc = take_option(line, argv, &i);
        else if (!line->command)
            rc = choose_command(line, word);
        else
            line->operands[line->operand_count++] = word;
        if (rc != EXIT_DONE || line->common.help || line->common.version)
            return rc;
    }
    return EXIT_DONE;
}

/* Whatever comes behind it: the command that --help is about may still follow. */
static void take_words_for_help(struct line *line, char **argv)
{
    for (int i = 1; argv[i] && !line->command; i++) {
        if (strcmp(argv[i], "--bus") == 0 && argv[i + 1])
            i++;
        else if (argv[i][0] != '-' && (!line->noun || strcmp(argv[i], line->noun) != 0) &&
                 choose_command(line, argv[i]) != EXIT_DONE)
            return;
    }
}

static int run_line(struct line *line, char **argv)
{
    int rc = take_words(line, argv);
    if (rc != EXIT_DONE)
        return rc;
    if (line->common.version) {
        printf("weir %s\n", weir_version());
        return EXIT_DONE;
    }
    if (line->common.help) {
        take_words_for_help(line, argv);
        if (line->command)
            print_command_help(line->command);
        else
            print_commands(stdout, line->noun);
        return EXIT_DONE;
    }
    if (!line->command)
        return usage_error(line, line->noun ? "the command needs a verb" : "no command given", line->noun);
    if (line->command->own_bus && line->common.bus)
        return usage_error(line, "unknown option", "--bus: the command makes a bus of its own");
    if (line->operand_count < line->command->operands_min)
        return usage_error(line, "missing", line->command->operands);
    if (line->operand_count > line->command->operands_max)
        return usage_error(line, "one word too many", line->operands[line->command->operands_max]);

    struct call call = {line->command,  line->common.bus,    line->common.json,
                        line->operands, line->operand_count, line->arguments};
    return line->command->run(&call);
}

int main(int argc, char **argv)
{
    struct line line = {0};
    line.operands = calloc((size_t)argc + 1, sizeof *line.operands);
    if (!line.operands) {
        complain("not enough memory");
        return EXIT_FAILED;
    }
    signals_install();
    int rc = run_line(&line, argv);
    int finish = output_finish();
    free(line.arguments);
    free(line.operands);
    return rc == EXIT_DONE ? finish : rc;
}
