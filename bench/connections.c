// SPDX-License-Identifier: GPL-2.0-or-later
/* What remora-node's own thread takes for each event of a connection whose addresses are rewritten:
 * entries are made and removed in the connection tracking of a network namespace of its own, and
 * followed up to the fact that streams get. Needs root. */
#include <arpa/inet.h>
#include <glib.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack_tcp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "node-capture/connections/conntrack-socket.h"
#include "node-capture/server/connections.h"

#define CONNECTIONS 20000
#define POD         "10.0.0.1"

static int told;        /* atomic */
static uint64_t cpu_ns; /* of the thread that told last; read once it is at rest */

static void require(bool ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(EXIT_FAILURE);
    }
}

static void on_fact(Fact *fact, void *unused)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    cpu_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    fact_unref(fact);
    g_atomic_int_inc(&told);
}

static void on_problem(const char *subject, const char *message, void *unused)
{
    fprintf(stderr, "%s: %s\n", subject, message ? message : "well again");
}

static struct nf_conntrack *entry(unsigned number)
{
    struct nf_conntrack *ct = nfct_new();
    require(ct != NULL, "nfct_new");
    nfct_set_attr_u8(ct, ATTR_L3PROTO, AF_INET);
    nfct_set_attr_u8(ct, ATTR_L4PROTO, IPPROTO_TCP);
    nfct_set_attr_u32(ct, ATTR_IPV4_SRC, inet_addr(POD));
    nfct_set_attr_u32(ct, ATTR_IPV4_DST, inet_addr("10.96.0.1"));
    nfct_set_attr_u16(ct, ATTR_PORT_SRC, htons((uint16_t)(10000 + number)));
    nfct_set_attr_u16(ct, ATTR_PORT_DST, htons(80));
    nfct_setobjopt(ct, NFCT_SOPT_SETUP_REPLY);
    nfct_set_attr_u8(ct, ATTR_TCP_STATE, TCP_CONNTRACK_ESTABLISHED);
    nfct_set_attr_u32(ct, ATTR_TIMEOUT, 600);
    nfct_set_attr_u32(ct, ATTR_DNAT_IPV4, inet_addr("10.0.0.2"));
    nfct_set_attr_u16(ct, ATTR_DNAT_PORT, htons(8080));
    return ct;
}

static void query(struct nfct_handle *handle, enum nf_conntrack_query what, unsigned number)
{
    struct nf_conntrack *ct = entry(number);
    require(nfct_query(handle, what, ct) == 0, "conntrack entry");
    nfct_destroy(ct);
}

static void wait_for(int events)
{
    for (unsigned i = 0; i < 30000 && g_atomic_int_get(&told) < events; i++) {
        g_usleep(1000);
    }
    require(g_atomic_int_get(&told) >= events, "events are missing");
}

static Entity *pod_new(void)
{
    IpAddress address;
    require(ip_address_from_text(&address, POD), POD);
    Entity draft = {.kind = ENTITY_POD,
                    .uid = "pod",
                    .namespace_name = "bench",
                    .name = "pod",
                    .node = "n1",
                    .addresses = &address,
                    .n_addresses = 1};
    const char *error = NULL;
    return entity_new(&draft, &error);
}

int main(void)
{
    static const ConnectionsCallbacks callbacks = {on_fact, on_problem};
    require(unshare(CLONE_NEWNET) == 0, "a network namespace of its own");
    struct nfct_handle *handle = nfct_open(CONNTRACK, 0);
    require(handle != NULL, "connection tracking");
    Connections *connections = connections_new("n1", &callbacks, NULL);
    Entity *pod = pod_new();
    connections_identity(connections, pod, false, 0);
    connections_follow(connections, conntrack_socket_new(NULL));
    query(handle, NFCT_Q_CREATE, 0); /* to know that it listens */
    wait_for(1);
    uint64_t before_ns = cpu_ns;
    for (unsigned i = 1; i <= CONNECTIONS; i++) {
        query(handle, NFCT_Q_CREATE, i);
        query(handle, NFCT_Q_DESTROY, i);
    }
    wait_for(1 + 2 * CONNECTIONS);
    uint64_t taken_ns = cpu_ns - before_ns;
    ConntrackCounters counters;
    connections_stats(connections, &counters);
    printf("%u events, %.2f us of CPU time each; %u overruns\n", 2 * CONNECTIONS,
           (double)taken_ns / 1000 / (2 * CONNECTIONS), (unsigned)counters.overruns);
    connections_free(connections);
    entity_unref(pod);
    nfct_close(handle);
    return 0;
}
