// SPDX-License-Identifier: GPL-2.0-or-later
/* Any sequence of translations as a node may tell them, then look-ups: messages of one length byte
 * and so many bytes. What is found must be found by both of its legs. */
#include <stdlib.h>

#include "collector/translations.h"
#include "proto/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const Translations *translations, const Translation *known)
{
    Flow flow;
    if (!translations_find(translations, known->protocol, &known->client, &known->service,
                           known->from_ns, &flow) ||
        !translations_find(translations, known->protocol, &known->server, &known->masked_client,
                           known->from_ns, &flow) ||
        flow.id == 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* Of two nodes in turn: only what different nodes tell is one connection. */
    NodeQuota *quotas[2] = {node_quota_new(0, 0, 0), node_quota_new(0, 0, 0)};
    unsigned added = 0;
    Translations *translations = translations_new();
    while (size > 1) {
        size_t length = data[0] < size - 1 ? data[0] : size - 1;
        StreamMessage message;
        Translation translation;
        if (stream_message_decode(data + 1, length, &message) == 0) {
            if (message.type == STREAM_TRANSLATION &&
                translation_from_message(message.response->translation, &translation) == 0) {
                if (translations_add(translations, quotas[added++ % 2], &translation) < 0)
                    abort();
                look(translations, &translation);
            }
            stream_message_clear(&message);
        }
        data += 1 + length;
        size -= 1 + length;
    }
    translations_end(translations, quotas[0], 5);
    translations_forget(translations, 10);
    translations_free(translations);
    node_quota_free(quotas[0]);
    node_quota_free(quotas[1]);
    return 0;
}
