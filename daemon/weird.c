/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the daemon's threads, and ending them in order. */
#include "daemon/weird.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/admin.h"
#include "daemon/cpus.h"
#include "daemon/drain.h"
#include "daemon/guard.h"
#include "daemon/log.h"
#include "daemon/place.h"
#include "daemon/policy.h"
#include "daemon/registry.h"
#include "daemon/scan.h"
#include "daemon/supervise.h"

static_assert(WEIRD_THREADS_MAX == DRAIN_THREADS_MAX, "threads");

struct weird {
    struct place place;
    struct policies *policies;
    struct registry registry;
    struct drain_pool *pool;
    struct supervisor *supervisor;
    struct scanner *scanner;
    struct admin *admin;
    bool placed, registered, guarded;
};

static int weird_begin(struct weird *weird, const struct weird_options *options, struct shm_why *why)
{
    uint32_t threads = options->threads ? options->threads : 1;
    if (threads > WEIRD_THREADS_MAX) {
        shm_explain(why, "at most %u threads", WEIRD_THREADS_MAX);
        return -EINVAL;
    }
    int r = options->cpus ? cpus_check(options->cpus, why) : 0;
    if (r < 0)
        return r;
    r = place_open(&weird->place, options->bus, options->journal, why);
    if (r < 0)
        return r;
    weird->placed = true;
    r = guard_install();
    weird->guarded = r == 0;
    if (r == 0) {
        r = registry_open(&weird->registry);
        weird->registered = r == 0;
    }
    if (r == 0)
        r = policies_open(&weird->policies);
    if (r == 0 && options->policies)
        r = policies_set(weird->policies, options->policies);
    if (r == 0)
        r = drain_start(&weird->pool, &weird->place, weird->policies, &weird->registry, threads, options->cpus);
    if (r == 0)
        r = supervise_start(&weird->supervisor, &weird->registry, weird->policies, weird->pool);
    if (r == 0)
        r = scan_start(&weird->scanner, &weird->place, &weird->registry, weird->pool, weird->supervisor, why);
    if (r == 0)
        weird->admin = admin_start(weird, &weird->place, &weird->registry, weird->policies, options->calls);
    return r;
}

/* In this order: nobody asks for anything any more, but who asked for the end still waits for it; no ring comes any more; all is drained and the journals are closed; nobody sweeps any more; the rings are left. */
static void weird_end(struct weird *weird)
{
    admin_finish(weird->admin);
    scan_stop(weird->scanner);
    drain_finish(weird->pool);
    supervise_finish(weird->supervisor); /* until here it may wake a drain thread */
    scan_finish(weird->scanner);
    drain_free(weird->pool);
    policies_close(weird->policies);
    if (weird->registered)
        registry_close(&weird->registry);
    if (weird->guarded)
        guard_remove();
    admin_free(weird->admin);
    if (weird->placed)
        place_close(&weird->place);
    free(weird);
}

int weird_start(const struct weird_options *options, struct weird **ret_weird, struct shm_why *why)
{
    struct weird *weird = calloc(1, sizeof *weird);
    if (!weird)
        return -ENOMEM;
    log_setup(options->verbose);
    rcu_register_thread();
    int r = weird_begin(weird, options, why);
    if (r < 0) {
        if (why && !why->text[0])
            shm_explain(why, "%s", strerror(-r));
        weird_end(weird);
    } else {
        *ret_weird = weird;
    }
    rcu_unregister_thread();
    return r;
}

void weird_stop(struct weird *weird)
{
    if (!weird)
        return;
    rcu_register_thread();
    weird_end(weird);
    rcu_unregister_thread();
}

int weird_set_policies(struct weird *weird, const struct policy_rules *policies)
{
    int r = policies_set(weird->policies, policies);
    if (r == 0)
        drain_wake_all(weird->pool);
    return r;
}

bool weird_lives(struct weird *weird, uint64_t step_ns)
{
    bool lives = drain_beats(weird->pool, step_ns); /* each is to count its time */
    lives &= supervise_beats(weird->supervisor, step_ns);
    lives &= scan_beats(weird->scanner, step_ns);
    return lives;
}

int weird_failed_fd(const struct weird *weird)
{
    return scan_failed_fd(weird->scanner);
}

const char *weird_bus(const struct weird *weird)
{
    return weird->place.bus;
}

const char *weird_journal(const struct weird *weird)
{
    return weird->place.journal;
}

uint64_t weird_sleeps(const struct weird *weird)
{
    return drain_sleeps(weird->pool);
}
