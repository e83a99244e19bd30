/* SPDX-License-Identifier: Apache-2.0 */
/* Versions and error texts. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/attach.h"
#include "weir.h"

static _Thread_local char last_error[512];

#define STRING_(x) #x
#define STRING(x) STRING_(x)

const char *weir_version(void)
{
    return STRING(WEIR_VERSION_MAJOR) "." STRING(WEIR_VERSION_MINOR) "." STRING(WEIR_VERSION_PATCH);
}

int fail(int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(last_error, sizeof last_error, format, args);
    va_end(args);
    return error;
}

void fail_clear(void)
{
    last_error[0] = 0;
}

const char *weir_last_error(void)
{
    return last_error;
}

const char *weir_strerror(int error)
{
    static const struct {
        int error;
        const char *text;
    } texts[] = {
        {EINVAL, "an argument is out of its range"},
        {ENAMETOOLONG, "the name is longer than 64 characters, or a path too long"},
        {EILSEQ, "names are made of A-Z a-z 0-9 . _ - and do not begin with a dot"},
        {ENOENT, "there is no such ring, group, journal, bus, header, gap or pin"},
        {EEXIST, "the ring, or the group, exists already"},
        {EACCES, "the files' rights do not allow it"},
        {ENOMEM, "not enough memory"},
        {EAGAIN, "nothing to do now: the ring is full, or has no further message yet"},
        {ETIMEDOUT, "the time limit passed"},
        {EPIPE, "messages before the next one are missing, or some of the range to be pinned"},
        {EMSGSIZE, "the message is larger than a segment takes, or the buffer too small for it"},
        {EBUSY,
         "held by a process that is alive; or weird has the journal, or others change its pins, or they keep it"},
        {ECANCELED, "the message is no longer this worker's: its lease has ended, or it was finished before"},
        {EALREADY, "the sequence was published before"},
        {ENOSPC, "a table of the ring, or of the group, is full; or the journal's pins, or the disk, are full"},
        {EIDRM, "the ring, or the group, was removed"},
        {EIO, "the ring's journal has stopped after a disk error; or the disk cannot read a journal"},
        {EBADMSG, "the bytes make no sense: the ring or its journal is damaged"},
        {EMEDIUMTYPE, "this is neither a ring nor a journal of weir's"},
        {EPROTONOSUPPORT, "the ring has another layout version"},
        {ECHILD, "the handle was opened by the parent of this process"},
        {EOPNOTSUPP, "huge pages or the NUMA node are not to be had here"},
        {EINTR, "interrupted by a signal"},
        {EPERM, "the handle was not opened for this, or the bus is not safe to use"},
    };
    if (error >= 0)
        return "success";
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i].error == -error)
            return texts[i].text;
    const char *name = strerrordesc_np(-error);
    return name ? name : "unknown error";
}
