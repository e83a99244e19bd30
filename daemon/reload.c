/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/reload.h"

#include <string.h>

#include "daemon/log.h"
#include "daemon/notify.h"

struct reload_listener {
    void (*tell)(void *ctx, const char *line);
    void *ctx;
};

static void reload_tell(void *ctx, const char *line)
{
    const struct reload_listener *listener = ctx;
    log_warning("%s", line);
    if (listener->tell)
        listener->tell(listener->ctx, line);
}

static int reload_locked(struct reload *reload, struct weird *weird, const struct config_tell *tell)
{
    struct config next;
    int r = config_load(reload->file, &next, tell);
    if (r < 0)
        return r;
    config_override(&next, &reload->given);
    r = weird_set_policies(weird, &next.policies);
    if (r < 0) {
        tell->line(tell->ctx, strerror(-r));
        config_free(&next);
        return r;
    }
    config_move(&reload->running, &next, tell);
    log_set_verbose(reload->running.verbose);
    return 0;
}

int reload_run(struct reload *reload, struct weird *weird, void (*tell)(void *tell_ctx, const char *line),
               void *tell_ctx)
{
    struct reload_listener listener = {tell, tell_ctx};
    struct config_tell to = {reload_tell, &listener};
    pthread_mutex_lock(&reload->lock);
    notify_reloading();
    int r = reload_locked(reload, weird, &to);
    if (r < 0)
        log_error("the configuration stays as it was: %s was refused", reload->file);
    else
        log_notice("read %s again", reload->file);
    notify_manager("READY=1");
    pthread_mutex_unlock(&reload->lock);
    return r;
}
