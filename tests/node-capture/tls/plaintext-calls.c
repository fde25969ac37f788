// SPDX-License-Identifier: GPL-2.0-or-later
#include "plaintext-calls.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static void read_address(const char *text, uint8_t *ret_family, TlsAddress *ret)
{
    g_auto(GStrv) parts = g_strsplit(text, "/", 2);
    *ret_family = strchr(parts[0], ':') ? AF_INET6 : AF_INET;
    g_assert_cmpint(inet_pton(*ret_family, parts[0], ret->bytes), ==, 1);
    ret->port = (uint16_t)atoi(parts[1]);
}

static void read_key(const char *key, const char *value, TlsPlaintext *ret)
{
    uint64_t number = g_ascii_strtoull(value, NULL, 10);
    if (strcmp(key, "connection") == 0) {
        ret->connection = number;
    } else if (strcmp(key, "netns") == 0) {
        ret->netns_inode = number;
    } else if (strcmp(key, "time") == 0) {
        ret->time_unix_ns = number;
    } else if (strcmp(key, "direction") == 0) {
        ret->direction = strcmp(value, "read") == 0 ? TLS_READ : TLS_WRITTEN;
    } else if (strcmp(key, "server") == 0) {
        ret->is_server = number;
    } else if (strcmp(key, "start") == 0) {
        ret->from_start = number;
    } else if (strcmp(key, "secrets") == 0) {
        ret->secrets_ns = number ? (uint64_t)g_get_monotonic_time() * 1000 : 0;
    } else if (strcmp(key, "skipped") == 0) {
        ret->skipped = number;
    } else if (strcmp(key, "end") == 0) {
        ret->end = number;
    } else if (strcmp(key, "offset") == 0) {
        ret->offset = number;
    } else if (strcmp(key, "local") == 0) {
        read_address(value, &ret->family, &ret->local);
    } else if (strcmp(key, "remote") == 0) {
        read_address(value, &ret->family, &ret->remote);
    } else {
        g_error("unknown key %s", key);
    }
}

void plaintext_call(char *line, void (*tell)(const TlsPlaintext *plaintext, void *userdata),
                    void *userdata)
{
    g_auto(GStrv) words = g_strsplit(g_strchomp(line), " ", 0);
    g_autofree uint8_t *data = NULL;
    TlsPlaintext plaintext = {.from_start = true};
    for (unsigned i = 0; words[i]; i++) {
        char *value = strchr(words[i], '=');
        if (value) {
            *value = 0;
            read_key(words[i], value + 1, &plaintext);
            continue;
        }
        if (!*words[i]) {
            continue;
        }
        g_assert_null(data);
        plaintext.length = strlen(words[i]) / 2;
        plaintext.data = data = g_malloc(plaintext.length + 1);
        for (size_t j = 0; j < plaintext.length; j++) {
            data[j] = (uint8_t)(g_ascii_xdigit_value(words[i][2 * j]) << 4 |
                                g_ascii_xdigit_value(words[i][2 * j + 1]));
        }
    }
    tell(&plaintext, userdata);
}
