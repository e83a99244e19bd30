/* SPDX-License-Identifier: Apache-2.0 */
/* Where weir's own programs lie. */
#ifndef WEIR_CLI_PROGRAMS_H
#define WEIR_CLI_PROGRAMS_H

#include <stddef.h>

/* The path of this program. 0 or a negative errno. */
int program_self(char *path, size_t path_bytes);
/* The daemon: what the environment's WEIRD says, else beside this program, else what the search path has. */
void program_weird(const char *self, char *path, size_t path_bytes);

#endif
