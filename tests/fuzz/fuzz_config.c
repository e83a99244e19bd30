/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz: LINKS weird_core weir_journal weir_shm weir_ringbuf */
/*
 * A configuration file. Whatever its text is: it is refused, with a line for each fault, or what it says is within bounds, and
 * what is printed of it is read back as the same.
 */
#include <errno.h>

#include "daemon/config.h"
#include "tests/fuzz/support/input.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned told;

static void take_line(void *ctx, const char *line)
{
    (void)ctx;
    need(strncmp(line, "file", 4) == 0, "a fault without its file");
    for (; *line; line++)
        need((unsigned char)*line >= ' ' && *line != 0x7f, "a fault that is more than a line");
    told++;
}
static const struct config_tell tell = {take_line, NULL};

static char *print(const struct config *config, size_t *ret_bytes)
{
    char *text = NULL;
    FILE *out = open_memstream(&text, ret_bytes);
    need(out != NULL, "no memory");
    config_print(out, config);
    need(fclose(out) == 0, "no memory");
    return text;
}

static void check_policy(const struct policy *policy)
{
    need(policy->sync != POLICY_SYNC_INTERVAL || (policy->sync_interval_ms >= 1 && policy->sync_interval_ms <= 60000),
         "an interval out of its bounds");
    need(policy->retain_bytes <= UINT64_C(1) << 50 && policy->limit_bytes <= UINT64_C(1) << 50,
         "a size out of its bounds");
    need(policy->retain_age_ms <= UINT64_C(36500) * 86400000, "an age out of its bounds");
}

static void check(const struct config *config)
{
    static const char *const rings[] = {"a", "orders", "telemetry.cpu.0",
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    need(config->threads >= 1 && config->threads <= 64, "threads out of their bounds");
    need(config->policies.room.low_percent < config->policies.room.high_percent &&
             config->policies.room.high_percent <= 100,
         "watermarks out of their bounds");
    for (size_t i = 0; i < sizeof rings / sizeof rings[0]; i++) {
        struct policy policy;
        policy_apply(&config->policies, rings[i], &policy);
        check_policy(&policy);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config config, again;
    told = 0;
    int r = config_parse("file", (const char *)data, size, &config, &tell);
    need(r == 0 || (r == -EINVAL && told > 0), "refused without a word");
    if (r < 0)
        return 0;
    need(told == 0, "a fault, and not refused");
    check(&config);

    size_t bytes, bytes_again;
    char *text = print(&config, &bytes);
    need(config_parse("file", text, bytes, &again, &tell) == 0, "what is printed is not read back");
    char *text_again = print(&again, &bytes_again);
    need(bytes == bytes_again && memcmp(text, text_again, bytes) == 0, "what is printed is read back as another");
    free(text);
    free(text_again);
    config_free(&config);
    config_free(&again);
    return 0;
}
