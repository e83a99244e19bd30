/* SPDX-License-Identifier: Apache-2.0 */
/* Between the caller's struct weir_message and the record's properties. */
#ifndef WEIR_CLIENT_MESSAGE_H
#define WEIR_CLIENT_MESSAGE_H

#include "ringbuf/ring.h"
#include "weir.h"

/* Bytes of all properties when written: fills meta but for producer, sequence and headers' encoding. -EINVAL with a text. */
int message_measure(const struct weir_message *message, bool named, struct ring_meta *ret_meta, uint32_t *ret_bytes);
/* Encodes headers into buffer (of meta's headers_bytes). */
void message_encode_headers(const struct weir_message *message, uint8_t *buffer);
/* From a record to what the caller sees. -EBADMSG: the properties make no sense. */
int message_from_item(const struct ring_item *item, struct weir_message *ret_message);

#endif
