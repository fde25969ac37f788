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
    NodeQuota *quota = node_quota_new(0, 0, 0);
    Translations *translations = translations_new();
    while (size > 1) {
        size_t length = data[0] < size - 1 ? data[0] : size - 1;
        StreamMessage message;
        Translation translation;
        if (stream_message_decode(data + 1, length, &message) == 0) {
            if (message.type == STREAM_TRANSLATION &&
                translation_from_message(message.response->translation, &translation) == 0) {
                if (translations_add(translations, quota, &translation) < 0)
                    abort();
                look(translations, &translation);
            }
            stream_message_clear(&message);
        }
        data += 1 + length;
        size -= 1 + length;
    }
    translations_end(translations, quota, 5);
    translations_forget(translations, 10);
    translations_free(translations);
    node_quota_free(quota);
    return 0;
}
