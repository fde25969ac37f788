// SPDX-License-Identifier: GPL-2.0-or-later
/* Prints what the kernel tells of rewritten connections in the namespace it is started in (or the
 * one given), a line each; ends when its input does. For real.py. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "node-capture/connections/conntrack-socket.h"

static void print_end(const ProtobufCBinaryData *address, uint32_t port)
{
    char text[INET6_ADDRSTRLEN];
    inet_ntop(address->len == 4 ? AF_INET : AF_INET6, address->data, text, sizeof(text));
    printf(" %s %u", text, port);
}

static void on_translation(const Remora__V1__Translation *t, void *userdata)
{
    printf("%s %u", t->to_unix_ns ? "end" : "begin", t->protocol);
    print_end(&t->client, t->client_port);
    print_end(&t->service, t->service_port);
    print_end(&t->server, t->server_port);
    print_end(&t->masked_client, t->masked_client_port);
    printf(" %" PRIu64 " %" PRIu64 "\n", t->from_unix_ns, t->to_unix_ns);
}

static bool on_wanted(const ConntrackEntry *entry, void *userdata)
{
    return true;
}

static void on_problem(const char *subject, const char *message, void *userdata)
{
    printf("problem %s: %s\n", subject, message ? message : "well again");
}

int main(int argc, char **argv)
{
    static const ConntrackCallbacks callbacks = {on_translation, on_wanted, on_problem};
    setvbuf(stdout, NULL, _IOLBF, 0);
    Conntrack *conntrack =
        conntrack_new(conntrack_socket_new(argc > 1 ? argv[1] : NULL), &callbacks, NULL);
    char byte;
    while (read(0, &byte, 1) > 0) {
    }
    ConntrackCounters counters;
    conntrack_counters(conntrack, &counters);
    conntrack_free(conntrack);
    printf("events %" PRIu64 " overruns %" PRIu64 "\n", counters.events, counters.overruns);
    return 0;
}
