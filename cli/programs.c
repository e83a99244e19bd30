/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/programs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int program_self(char *path, size_t path_bytes)
{
    ssize_t bytes = readlink("/proc/self/exe", path, path_bytes - 1);
    if (bytes < 0)
        return -errno;
    path[bytes] = '\0';
    return 0;
}

void program_weird(const char *self, char *path, size_t path_bytes)
{
    const char *given = getenv("WEIRD");
    if (given && given[0]) {
        snprintf(path, path_bytes, "%s", given);
        return;
    }
    static const char *const beside[] = {"weird", "../daemon/weird"};
    const char *slash = strrchr(self, '/');
    int folder_bytes = slash ? (int)(slash - self) : 0;
    for (size_t i = 0; i < sizeof beside / sizeof beside[0]; i++) {
        snprintf(path, path_bytes, "%.*s/%s", folder_bytes, self, beside[i]);
        if (access(path, X_OK) == 0)
            return;
    }
    snprintf(path, path_bytes, "weird");
}
