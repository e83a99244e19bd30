/* SPDX-License-Identifier: Apache-2.0 */
/* A project outside weir's tree: all it knows is an installed weir. */
#include <stdio.h>
#include <string.h>
#include <weir.h>

int main(void)
{
    char header[32];

    snprintf(header, sizeof(header), "%d.%d.%d", WEIR_VERSION_MAJOR, WEIR_VERSION_MINOR, WEIR_VERSION_PATCH);
    printf("header %s, library %s\n", header, weir_version());
    return strcmp(header, weir_version()) != 0;
}
