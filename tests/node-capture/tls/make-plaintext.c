// SPDX-License-Identifier: GPL-2.0-or-later
/* make-plaintext INTERFACE < calls > file.pcapng: what the codec of plaintext makes of calls that
 * standard input tells, one a line:
 *
 *     KEY=VALUE ... [HEX bytes as the last word]
 *
 * Keys: connection, netns, time (ns), direction (read, written), server, start, end, offset, local,
 * remote (ADDRESS/PORT; none: the socket is not known). */
#include <arpa/inet.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/pcapng/pcapng.h"
#include "node-capture/tls/plaintext-flow.h"
#include "node-capture/tls/tcp-packet.h"

static void write_all(const void *bytes, size_t length)
{
    if (fwrite(bytes, 1, length, stdout) != length) {
        g_error("cannot write");
    }
}

static void take(Batch *batch, void *userdata)
{
    write_all(batch->data, batch->length);
    batch_unref(batch);
}

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

static void read_call(PlaintextFlow *flow, const char *line)
{
    g_auto(GStrv) words = g_strsplit(g_strchomp((char *)line), " ", 0);
    g_autofree uint8_t *data = NULL;
    TlsPlaintext plaintext = {.from_start = true};
    for (unsigned i = 0; words[i]; i++) {
        char *value = strchr(words[i], '=');
        if (value) {
            *value = 0;
            read_key(words[i], value + 1, &plaintext);
            continue;
        }
        plaintext.length = strlen(words[i]) / 2;
        plaintext.data = data = g_malloc(plaintext.length + 1);
        for (size_t j = 0; j < plaintext.length; j++) {
            data[j] = (uint8_t)(g_ascii_xdigit_value(words[i][2 * j]) << 4 |
                                g_ascii_xdigit_value(words[i][2 * j + 1]));
        }
    }
    PlaintextHole hole;
    plaintext_flow_add(flow, &plaintext, take, NULL, &hole);
}

int main(int argc, char **argv)
{
    g_assert_cmpint(argc, ==, 2);
    uint8_t head[512];
    PcapngBuilder builder;
    pcapng_builder_init(&builder, head, sizeof head);
    pcapng_build_section(&builder);
    pcapng_build_end(&builder);
    pcapng_build_interface(&builder, TCP_PACKET_LINK_TYPE, 0);
    pcapng_build_option_string(&builder, PCAPNG_IF_NAME, argv[1]);
    g_assert_cmpint(pcapng_build_end(&builder), >, 0);
    write_all(head, builder.length);

    PlaintextFlow *flow = plaintext_flow_new(0);
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, stdin) > 0) {
        read_call(flow, line);
    }
    free(line);
    plaintext_flow_free(flow);
    return 0;
}
