// SPDX-License-Identifier: GPL-2.0-or-later
/* make-plaintext INTERFACE < calls > file.pcapng: what the codec of plaintext makes of the calls in
 * plaintext-calls.h. */
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/pcapng/pcapng.h"
#include "node-capture/tls/plaintext-flow.h"
#include "node-capture/tls/tcp-packet.h"
#include "plaintext-calls.h"

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

static void add(const TlsPlaintext *plaintext, void *flow)
{
    PlaintextHole hole;
    plaintext_flow_add(flow, plaintext, take, NULL, &hole);
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
        plaintext_call(line, add, flow);
    }
    free(line);
    plaintext_flow_free(flow);
    return 0;
}
