// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/secrets.h"

#include <string.h>

#include "common/recent-set.h"

struct Secrets {
    RecentSet *known;  /* of what stands before a line's secret */
    GByteArray *early; /* while there is no interface, else NULL */
    GByteArray *fresh; /* what the last call gave */
};

Secrets *secrets_new(void)
{
    Secrets *secrets = g_new0(Secrets, 1);
    secrets->known = recent_set_new(SECRETS_REMEMBERED);
    secrets->early = g_byte_array_new();
    secrets->fresh = g_byte_array_new();
    return secrets;
}

Secrets *secrets_free(Secrets *secrets)
{
    if (!secrets)
        return NULL;
    recent_set_free(secrets->known);
    if (secrets->early)
        g_byte_array_unref(secrets->early);
    g_byte_array_unref(secrets->fresh);
    g_free(secrets);
    return NULL;
}

/* "LABEL RANDOM ": the secret belongs to these. All of a line that has no such form. */
static size_t key_length(const uint8_t *line, size_t length)
{
    const uint8_t *first = memchr(line, ' ', length);
    size_t left = first ? length - (size_t)(first + 1 - line) : 0;
    const uint8_t *second = first ? memchr(first + 1, ' ', left) : NULL;
    return second ? (size_t)(second + 1 - line) : length;
}

static void drop_oldest(GByteArray *early)
{
    if (early->len <= SECRETS_EARLY_MAX)
        return;
    size_t over = early->len - SECRETS_EARLY_MAX;
    const uint8_t *newline = memchr(early->data + over - 1, '\n', early->len - over + 1);
    g_byte_array_remove_range(early, 0, (guint)(newline + 1 - early->data));
}

const GByteArray *secrets_take(Secrets *secrets, const uint8_t *key_log, size_t length)
{
    static const uint8_t newline = '\n';
    GByteArray *into = secrets->early ? secrets->early : secrets->fresh;
    g_byte_array_set_size(secrets->fresh, 0);
    while (length) {
        const uint8_t *end = memchr(key_log, newline, length);
        size_t line = end ? (size_t)(end - key_log) : length;
        if (line && recent_set_add(secrets->known, key_log, key_length(key_log, line))) {
            g_byte_array_append(into, key_log, (guint)line);
            g_byte_array_append(into, &newline, 1);
        }
        size_t whole = line + (end != NULL);
        key_log += whole;
        length -= whole;
    }
    if (secrets->early)
        drop_oldest(secrets->early);
    return secrets->fresh;
}

const GByteArray *secrets_release(Secrets *secrets)
{
    g_byte_array_set_size(secrets->fresh, 0);
    if (secrets->early) {
        g_byte_array_unref(secrets->fresh);
        secrets->fresh = g_steal_pointer(&secrets->early);
    }
    return secrets->fresh;
}
