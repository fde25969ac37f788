// SPDX-License-Identifier: GPL-2.0-or-later
/* Any datagram: a message is read or refused, and what is read is rewritten. */
#include <stdlib.h>
#include <string.h>

#include "node-capture/connections/conntrack-message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _Alignas(struct nlmsghdr) uint8_t message[4096] = {0};
    size = size < sizeof(message) ? size : sizeof(message);
    memcpy(message, data, size);
    ConntrackEntry entry;
    if (conntrack_message_read((const struct nlmsghdr *)(const void *)message, size, &entry) == 1 &&
        memcmp(&entry.tuple.service, &entry.server, sizeof(entry.server)) == 0 &&
        memcmp(&entry.tuple.client, &entry.masked_client, sizeof(entry.server)) == 0) {
        abort();
    }
    return 0;
}
