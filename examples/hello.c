/* SPDX-License-Identifier: Apache-2.0 */
/* The program of README.md: a publisher and a subscriber of one ring. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <weir.h>

int main(void)
{
    struct weir_pub *pub = NULL;
    struct weir_sub *sub = NULL;
    struct weir_message message;

    int r = weir_ring_create(NULL, "orders", NULL);
    if ((r < 0 && r != -EEXIST) || weir_pub_open(NULL, "orders", NULL, &pub) < 0 ||
        weir_sub_open(NULL, "orders", NULL, &sub) < 0 || weir_pub_send(pub, "buy 100", 7, WEIR_FOREVER, NULL) < 0 ||
        weir_sub_next(sub, WEIR_FOREVER, &message) < 0) {
        fprintf(stderr, "orders: %s\n", weir_last_error());
        return 1;
    }
    printf("%.*s at position %" PRIu64 "\n", (int)message.data_bytes, (const char *)message.data, message.position);
    weir_pub_close(pub);
    weir_sub_close(sub);
    return 0;
}
