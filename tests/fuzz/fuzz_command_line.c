/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz: LINKS weir_bench weir_client weir_journal weir_shm weir_ringbuf PkgConfig::JANSSON SOURCES cli/[a-ln-z]*.c */
/*
 * Command lines of `weir`: taken apart by its parser and its commands' tables; no command is run. The input is the words,
 * each ended by a zero byte. Whatever is on the line is either understood, or refused in words.
 */
#include "tests/fuzz/support/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The parser's functions are its own: the file is part of this one, and the others of cli/ are linked. */
#define main weir_main
#include "cli/main.c"
#undef main
#include "cli/number.h"

#define WORDS_MAX 64

static size_t said; /* bytes, to stderr or stdout */

/* -- Numbers ------------------------------------------------------------------------------------------------------- */

/* What is printed exactly is read back. */
static void use_number(const char *word)
{
    struct number_text text, again;
    uint64_t number = 0, octal = 0, position = 0, back = 0;
    int64_t span_ns = 0;
    double rate = 0;

    if (number_parse(word, &number) == 0) {
        number_bytes(&text, (double)number);
        number_per_second(&text, (double)number);
        number_exact_bytes(&text, number);
        need(strlen(number_grouped(&text, number)) < sizeof(text.text), "no room");
        snprintf(again.text, sizeof(again.text), "%llu", (unsigned long long)number);
        need(number_parse(again.text, &back) == 0 && back == number, "a number that is not read back");
    }
    if (number_parse_octal(word, &octal) == 0) {
        snprintf(again.text, sizeof(again.text), "%llo", (unsigned long long)octal);
        need(number_parse_octal(again.text, &back) == 0 && back == octal, "an octal number that is not read back");
    }
    if (number_parse_rate(word, &rate) == 0)
        need(rate > 0 && rate <= 1e12, "a rate out of range");
    if (number_parse_span(word, &span_ns) == 0) {
        need(span_ns >= 0, "a negative span");
        number_span(&text, (uint64_t)span_ns);
        number_instant(&text, (uint64_t)span_ns);
    }
    if (number_parse_instant(word, &number) == 0)
        number_instant(&text, number);
    if (number_parse_position(word, &position) == 0 && position < WEIR_POSITION_START) {
        snprintf(again.text, sizeof(again.text), "%llu", (unsigned long long)position);
        need(number_parse_position(again.text, &back) == 0 && back == position, "a position that is not read back");
    }
}

/* -- The line ------------------------------------------------------------------------------------------------------ */

/* Numbers that an option lets through are within its bounds. */
static void check_arguments(const struct line *line)
{
    for (const struct option *option = line->command->options; option && option->name; option++) {
        const uint8_t *member = (const uint8_t *)line->arguments + option->offset;
        uint64_t number, fallback;
        if (option->kind != OPTION_COUNT && option->kind != OPTION_OCTAL)
            continue;
        memcpy(&number, member, sizeof(number));
        memset(&fallback, 0, sizeof(fallback));
        if (line->command->defaults)
            memcpy(&fallback, (const uint8_t *)line->command->defaults + option->offset, sizeof(fallback));
        need(number == fallback || (number >= option->min && number <= option->max), "an option out of its bounds");
    }
}

static int run_nothing(const struct call *call)
{
    (void)call;
    return EXIT_DONE;
}

/* As weir's own main(), with a command that does nothing. */
static void parse(char **argv, size_t words)
{
    struct line line = {0};
    struct command harmless;

    line.operands = calloc(words + 1, sizeof *line.operands);
    need(line.operands != NULL, "no memory");
    int rc = take_words(&line, argv);
    need(rc == EXIT_DONE || rc == EXIT_USAGE, "another exit status");
    need(line.operand_count <= words, "more operands than words");
    if (rc == EXIT_DONE && line.command) {
        need(line.arguments != NULL, "a command without arguments");
        check_arguments(&line);
        harmless = *line.command;
        harmless.run = run_nothing;
        line.command = &harmless;
    }
    if (rc == EXIT_DONE && line.common.help) {
        take_words_for_help(&line, argv);
        if (line.command)
            print_command_help(line.command);
        else
            print_commands(stdout, line.noun);
    } else if (rc == EXIT_DONE) { /* what the words do not say may be wrong with them, too: how many they are */
        static char *no_more[] = {NULL, NULL};
        rc = run_line(&line, no_more);
        need(rc == EXIT_DONE || rc == EXIT_USAGE, "another exit status");
    }
    need(rc == EXIT_DONE || fflush(stderr) != 0 || said > 0, "refused without a word");
    free(line.arguments);
    free(line.operands);
    complain_as("");
}

static ssize_t take_text(void *cookie, const char *text, size_t bytes)
{
    (void)cookie;
    (void)text;
    said += bytes;
    return (ssize_t)bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char first[] = "weir";
    static FILE *sink;
    FILE *out = stdout, *err = stderr;
    char *text = malloc(size + 1), *argv[WORDS_MAX + 2] = {first};
    size_t words = 1;

    need(text != NULL, "no memory");
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    for (size_t at = 0; at < size && words <= WORDS_MAX; at += strlen(text + at) + 1)
        argv[words++] = text + at;
    argv[words] = NULL;
    for (size_t i = 1; i < words; i++)
        use_number(argv[i]);

    if (!sink)
        sink = fopencookie(NULL, "w", (cookie_io_functions_t){.write = take_text});
    need(sink != NULL, "no memory");
    stdout = stderr = sink;
    said = 0;
    parse(argv, words);
    fflush(sink);
    stdout = out;
    stderr = err;
    free(text);
    return 0;
}
