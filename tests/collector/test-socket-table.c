// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "collector/socket-table.h"
#include "fixture.h"

#define T0  (1000 * SECOND)
#define TCP 6
#define UDP 17

/* "10.0.0.1:80"; NULL: any address, port 0; ":80": any address. */
typedef struct Told {
    const char *uid, *local, *remote, *process, *container, *no_secrets;
    uint64_t from_ns, to_ns;
    uint32_t protocol, pid;
} Told;

static uint32_t split(const char *text, IpAddress *ret)
{
    *ret = (IpAddress){{0}};
    if (!text)
        return 0;
    const char *colon = strrchr(text, ':');
    g_autofree char *address = g_strndup(text, (gsize)(colon - text));
    if (*address)
        g_assert_true(ip_address_from_text(ret, address));
    return (uint32_t)atoi(colon + 1);
}

static ProtobufCBinaryData bytes(const char *text, IpAddress *address, uint32_t *ret_port)
{
    *ret_port = split(text, address);
    bool any = !text || *text == ':';
    return (ProtobufCBinaryData){any ? 0 : 16, address->bytes};
}

static int apply_of(SocketTable *table, uint32_t node, const Told *told)
{
    IpAddress local, remote;
    const char *problem = NULL;
    Remora__V1__SocketOwner owner = REMORA__V1__SOCKET_OWNER__INIT;
    owner.target_uid = (char *)(uintptr_t)(told->uid ? told->uid : "pod");
    owner.protocol = told->protocol ? told->protocol : TCP;
    owner.local = bytes(told->local, &local, &owner.local_port);
    owner.remote = bytes(told->remote, &remote, &owner.remote_port);
    owner.process = (char *)(uintptr_t)(told->process ? told->process : "p");
    owner.container = (char *)(uintptr_t)(told->container ? told->container : "");
    owner.no_secrets = (char *)(uintptr_t)(told->no_secrets ? told->no_secrets : "");
    owner.pid = told->pid;
    owner.from_unix_ns = told->from_ns;
    owner.to_unix_ns = told->to_ns;
    int error = socket_table_apply(table, node, &owner, &problem);
    g_assert_true((error == -EINVAL) == (problem != NULL));
    return error;
}

static void apply(SocketTable *table, Told told)
{
    g_assert_cmpint(apply_of(table, 0, &told), ==, 0);
}

static SocketPlace place_of(const char *uid, const char *local, const char *remote)
{
    SocketPlace place = {.pod_key = entity_key(ENTITY_POD, uid), .protocol = TCP};
    place.local_port = (uint16_t)split(local, &place.local);
    place.remote_port = (uint16_t)split(remote, &place.remote);
    return place;
}

/* The process's name, or NULL. Also checks that the answer holds as long as it says. */
static const char *holder(const SocketTable *table, const char *local, const char *remote,
                          uint64_t time_ns)
{
    static char name[300];
    SocketPlace place = place_of("pod", local, remote);
    SocketHolder found = {0}, other = {0};
    uint64_t from_ns, to_ns, unused;
    bool known = socket_table_find(table, &place, time_ns, &found, &from_ns, &to_ns);
    g_assert_cmpuint(from_ns, <=, time_ns);
    g_assert_true(to_ns == 0 || to_ns > time_ns);
    const uint64_t edges[] = {from_ns, to_ns ? to_ns - 1 : time_ns + 1000 * SECOND};
    for (size_t i = 0; i < G_N_ELEMENTS(edges); i++) {
        g_assert_true(socket_table_find(table, &place, edges[i], &other, &unused, &unused) ==
                      known);
        if (known)
            g_assert_cmpstr(other.process, ==, found.process);
    }
    if (!known)
        return NULL;
    g_strlcpy(name, found.process, sizeof(name));
    return name;
}

static void test_exact_and_listener(void)
{
    SocketTable *table = socket_table_new(0);
    apply(table, (Told){.local = ":80", .process = "master", .from_ns = T0});
    apply(table, (Told){.local = "10.0.0.1:80",
                        .remote = "10.0.0.2:4000",
                        .process = "worker",
                        .from_ns = T0 + 1});
    apply(table, (Told){.local = "10.0.0.9:80", .process = "other", .from_ns = T0});
    g_assert_cmpstr(holder(table, "10.0.0.1:80", "10.0.0.2:4000", T0 + 1), ==, "worker");
    g_assert_cmpstr(holder(table, "10.0.0.1:80", "10.0.0.2:4001", T0 + 1), ==, "master");
    g_assert_cmpstr(holder(table, "10.0.0.9:80", "10.0.0.2:4001", T0 + 1), ==, "other");
    g_assert_null(holder(table, "10.0.0.1:80", "10.0.0.2:4001", T0 - 1));
    g_assert_null(holder(table, "10.0.0.1:81", "10.0.0.2:4001", T0));
    SocketPlace place = place_of("other-pod", "10.0.0.1:80", "10.0.0.2:4000");
    SocketHolder found;
    uint64_t from_ns, to_ns;
    g_assert_false(socket_table_find(table, &place, T0 + 1, &found, &from_ns, &to_ns));
    place = place_of("pod", "10.0.0.1:80", "10.0.0.2:4000");
    place.protocol = UDP;
    g_assert_false(socket_table_find(table, &place, T0 + 1, &found, &from_ns, &to_ns));
    socket_table_free(table);
}

static void test_time(void)
{
    SocketTable *table = socket_table_new(0);
    const char *local = "10.0.0.1:4000", *remote = "10.0.0.2:80";
    apply(table, (Told){.local = local, .remote = remote, .process = "first", .from_ns = T0});
    apply(table, (Told){.local = local,
                        .remote = remote,
                        .process = "first",
                        .from_ns = T0,
                        .to_ns = T0 + SECOND});
    g_assert_cmpuint(socket_table_count(table), ==, 1);
    /* Its last packets come after it. */
    g_assert_cmpstr(holder(table, local, remote, T0 + 2 * SECOND), ==, "first");
    g_assert_cmpstr(holder(table, local, remote, T0 + SECOND + SOCKET_LINGER_NS - 1), ==, "first");
    g_assert_null(holder(table, local, remote, T0 + SECOND + SOCKET_LINGER_NS));
    /* The port is used again: each has the packets of its time. */
    apply(
        table,
        (Told){.local = local, .remote = remote, .process = "second", .from_ns = T0 + 5 * SECOND});
    g_assert_cmpstr(holder(table, local, remote, T0 + 5 * SECOND - 1), ==, "first");
    g_assert_cmpstr(holder(table, local, remote, T0 + 5 * SECOND), ==, "second");
    /* As long as packets may come that are so old. */
    socket_table_forget(table, T0 + SECOND + SOCKET_LINGER_NS - 1);
    g_assert_cmpuint(socket_table_count(table), ==, 2);
    socket_table_forget(table, T0 + SECOND + SOCKET_LINGER_NS);
    g_assert_cmpuint(socket_table_count(table), ==, 1);
    g_assert_null(holder(table, local, remote, T0 + 5 * SECOND - 1));
    socket_table_free(table);
}

static void assert_no_secrets(const SocketTable *table, const char *expected)
{
    SocketPlace place = place_of("pod", "10.0.0.1:4000", "10.0.0.2:443");
    SocketHolder found = {0};
    uint64_t from_ns, to_ns;
    g_assert_true(socket_table_find(table, &place, T0, &found, &from_ns, &to_ns));
    g_assert_cmpstr(found.no_secrets, ==, expected);
}

/* The end of a socket, when its process is gone and nothing is known of it, says nothing new. */
static void test_no_secrets(void)
{
    SocketTable *table = socket_table_new(0);
    Told told = {.local = "10.0.0.1:4000", .remote = "10.0.0.2:443", .from_ns = T0};
    apply(table, told);
    assert_no_secrets(table, "");
    uint32_t generation = socket_table_generation(table);
    told.no_secrets = "NSS is not hooked";
    apply(table, told);
    g_assert_cmpuint(socket_table_generation(table), !=, generation);
    assert_no_secrets(table, "NSS is not hooked");
    told.no_secrets = "";
    told.to_ns = T0 + SECOND;
    apply(table, told);
    assert_no_secrets(table, "NSS is not hooked");
    g_autofree char *long_text = g_strnfill(2000, 'x');
    told.no_secrets = long_text;
    g_assert_cmpint(apply_of(table, 0, &told), ==, -EINVAL);
    told.no_secrets = "\xff";
    g_assert_cmpint(apply_of(table, 0, &told), ==, -EINVAL);
    socket_table_free(table);
}

/* The far address is rewritten between the pod and where the packet was captured. */
static void test_rewritten(void)
{
    SocketTable *table = socket_table_new(0);
    apply(table, (Told){.local = "10.0.0.1:4000",
                        .remote = "10.96.0.1:80",
                        .process = "curl",
                        .from_ns = T0});
    g_assert_cmpstr(holder(table, "10.0.0.1:4000", "10.0.0.7:8080", T0), ==, "curl");
    g_assert_null(holder(table, "10.0.0.1:4001", "10.0.0.7:8080", T0));
    apply(table, (Told){.local = "10.0.0.1:4000",
                        .remote = "10.96.0.1:80",
                        .process = "curl",
                        .from_ns = T0,
                        .to_ns = T0 + 1});
    g_assert_null(holder(table, "10.0.0.1:4000", "10.0.0.7:8080", T0 + 1 + SOCKET_LINGER_NS));
    socket_table_forget(table, T0 + 1 + SOCKET_LINGER_NS);
    g_assert_null(holder(table, "10.0.0.1:4000", "10.0.0.7:8080", T0));
    socket_table_free(table);
}

static void test_changed(void)
{
    SocketTable *table = socket_table_new(0);
    apply(table, (Told){.local = ":80", .from_ns = T0});
    uint32_t generation = socket_table_generation(table);
    SocketPlace place = place_of("pod", "10.0.0.1:80", "10.0.0.2:4000");
    SocketPlace other = place_of("pod", "10.0.0.1:81", "10.0.0.2:4000");
    g_assert_false(socket_table_changed(table, &place, generation));
    apply(table, (Told){.local = "10.0.0.1:80", .remote = "10.0.0.2:4000", .from_ns = T0});
    g_assert_true(socket_table_changed(table, &place, generation));
    g_assert_false(socket_table_changed(table, &other, generation));
    /* That it ends changes no answer. */
    generation = socket_table_generation(table);
    apply(
        table,
        (Told){.local = "10.0.0.1:80", .remote = "10.0.0.2:4000", .from_ns = T0, .to_ns = T0 + 1});
    g_assert_false(socket_table_changed(table, &place, generation));
    apply(table, (Told){.local = "10.0.0.1:80", .from_ns = T0 + 2});
    g_assert_true(socket_table_changed(table, &place, generation));
    socket_table_free(table);
}

static void test_bounded(void)
{
    SocketTable *table = socket_table_new(4);
    char local[32];
    for (int i = 1; i <= 4; i++) {
        g_snprintf(local, sizeof(local), "10.0.0.1:%d", i);
        apply(table, (Told){.local = local, .from_ns = T0});
    }
    g_assert_cmpint(apply_of(table, 0, &(Told){.local = ":5", .from_ns = T0}), ==, -ENOSPC);
    /* Another node has room of its own. */
    g_assert_cmpint(apply_of(table, 1, &(Told){.uid = "x", .local = ":5", .from_ns = T0}), ==, 0);
    apply(table, (Told){.local = "10.0.0.1:2", .from_ns = T0, .to_ns = T0 + 1});
    apply(table, (Told){.local = ":5", .from_ns = T0}); /* what has ended goes */
    g_assert_null(holder(table, "10.0.0.1:2", "10.0.0.2:1", T0));
    g_assert_nonnull(holder(table, "10.0.0.1:1", "10.0.0.2:1", T0));
    g_assert_cmpuint(socket_table_count(table), ==, 5);
    /* The same again and again, at ever later times, takes no more either. */
    for (unsigned i = 1; i < 100; i++)
        apply_of(
            table, 1,
            &(Told){.uid = "x", .local = "10.0.0.1:9", .remote = "10.0.0.2:1", .from_ns = T0 + i});
    g_assert_cmpuint(socket_table_count(table), <=, 8);
    socket_table_free(table);
}

static void test_node_gone(void)
{
    SocketTable *table = socket_table_new(0);
    apply(table, (Told){.local = ":80", .process = "old", .from_ns = T0});
    apply(table, (Told){.local = ":81", .process = "stays", .from_ns = T0});
    socket_table_node_gone(table, 0, T0 + SECOND);
    apply(table, (Told){.local = ":81", .process = "stays", .from_ns = T0}); /* it is back */
    uint64_t later_ns = T0 + 10 * SECOND + SOCKET_LINGER_NS;
    g_assert_null(holder(table, "10.0.0.1:80", "10.0.0.2:1", later_ns));
    g_assert_cmpstr(holder(table, "10.0.0.1:81", "10.0.0.2:1", later_ns), ==, "stays");
    socket_table_free(table);
}

static void test_invalid(void)
{
    SocketTable *table = socket_table_new(0);
    g_autofree char *longer = g_strnfill(254, 'a');
    const Told wrong[] = {
        {.uid = "", .local = ":80"},
        {.uid = longer, .local = ":80"},
        {.local = NULL},
        {.local = ":65536"},
        {.local = ":80", .remote = "10.0.0.1:65536"},
        {.local = ":80", .protocol = 256},
        {.local = ":80", .process = longer},
        {.local = ":80", .container = longer},
        {.local = ":80", .process = "\xff"},
        {.local = ":80", .container = "\xc0\x80"},
        {.local = ":80", .from_ns = 2, .to_ns = 1},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++)
        g_assert_cmpint(apply_of(table, 0, &wrong[i]), ==, -EINVAL);

    const char *problem = NULL;
    uint8_t five[5] = {0};
    Remora__V1__SocketOwner owner = REMORA__V1__SOCKET_OWNER__INIT;
    owner.target_uid = (char *)(uintptr_t) "pod";
    owner.protocol = TCP;
    owner.local_port = 80;
    owner.local = (ProtobufCBinaryData){5, five};
    g_assert_cmpint(socket_table_apply(table, 0, &owner, &problem), ==, -EINVAL);
    g_assert_cmpuint(socket_table_count(table), ==, 0);
    socket_table_free(table);
}

/* Whatever nodes tell in whatever order, nothing breaks, and the bound holds. */
static void test_random(void)
{
    SocketTable *table = socket_table_new(64);
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    for (unsigned i = 0; i < 50000; i++) {
        char local[32], remote[32], process[8];
        g_snprintf(local, sizeof(local), "10.0.0.1:%d", g_rand_int_range(rand, 1, 20));
        g_snprintf(remote, sizeof(remote), "10.0.0.2:%d", g_rand_int_range(rand, 1, 4));
        g_snprintf(process, sizeof(process), "p%d", g_rand_int_range(rand, 0, 5));
        uint64_t from_ns = T0 + (uint64_t)g_rand_int_range(rand, 0, 40) * SECOND;
        bool bound = g_rand_int_range(rand, 0, 3) == 0, ended = g_rand_boolean(rand);
        Told told = {.local = local,
                     .remote = bound ? NULL : remote,
                     .process = process,
                     .from_ns = from_ns,
                     .to_ns = ended ? from_ns + SECOND : 0};
        apply_of(table, (uint32_t)g_rand_int_range(rand, 0, 3), &told);
        holder(table, local, remote, T0 + (uint64_t)g_rand_int_range(rand, 0, 200) * SECOND);
        if (i % 100 == 0)
            socket_table_forget(table, T0 + (uint64_t)g_rand_int_range(rand, 0, 120) * SECOND);
        if (i % 1000 == 0)
            socket_table_node_gone(table, (uint32_t)g_rand_int_range(rand, 0, 3), T0 + 41 * SECOND);
        g_assert_cmpuint(socket_table_count(table), <=, 3 * 64);
    }
    socket_table_free(table);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/socket-table/exact-and-listener", test_exact_and_listener);
    g_test_add_func("/socket-table/time", test_time);
    g_test_add_func("/socket-table/no-secrets", test_no_secrets);
    g_test_add_func("/socket-table/rewritten", test_rewritten);
    g_test_add_func("/socket-table/changed", test_changed);
    g_test_add_func("/socket-table/bounded", test_bounded);
    g_test_add_func("/socket-table/node-gone", test_node_gone);
    g_test_add_func("/socket-table/invalid", test_invalid);
    g_test_add_func("/socket-table/random", test_random);
    return g_test_run();
}
