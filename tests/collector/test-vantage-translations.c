// SPDX-License-Identifier: GPL-2.0-or-later
/* The vantage choice, where conntrack says which legs belong together. */
#include <glib.h>
#include <string.h>

#include "vantage-world.h"

static FlowEnd end(const char *address, uint16_t port)
{
    FlowEnd ret = {.port = port};
    g_assert_true(ip_address_from_text(&ret.address, address));
    return ret;
}

/* c0:40000 to the service; the server sees MASKED:50000. */
static void translate(World *world, const char *masked, const char *server, uint64_t from_ns,
                      uint64_t to_ns)
{
    const Translation translation = {
        6, end(C0, 40000), end(VIP, 80), end(masked, 50000), end(server, 8080), from_ns, to_ns};
    g_assert_cmpint(translations_add(world->translations, world->quota, &translation), ==, 0);
    vantage_translated(world->vantage, &translation);
}

static void pop_translated(World *world, uint64_t frontier_ns, bool service_is_src,
                           const char *server, uint64_t *id)
{
    VantagePacket packet;
    g_assert_true(vantage_pop(world->vantage, frontier_ns, &packet));
    g_assert_nonnull(packet.flow);
    g_assert_cmpstr(packet.service->name, ==, "catalog");
    g_assert_cmpint(packet.service_is_src, ==, service_is_src);
    char text[46];
    ip_address_format(&packet.flow->server.address, text);
    g_assert_cmpstr(text, ==, server);
    if (*id)
        g_assert_cmpuint(packet.flow->id, ==, *id);
    *id = packet.flow->id;
    merge_buffer_unref(packet.packet.buffer);
}

static void test_masqueraded_legs_are_joined(void)
{
    World *world = world_new(NULL, 0);
    uint64_t id = 0;
    translate(world, "10.0.0.9", S0, T0, 0);
    out(world, CLIENT_0, T0, SYN(C0, 40000, VIP, 80, 7, 1));
    in(world, SERVER_0, T0 + MILLI, SYN("10.0.0.9", 50000, S0, 8080, 7, 2));
    pop_translated(world, T0 + MILLI, false, S0, &id);
    out(world, SERVER_0, T0 + 2 * MILLI, DATA(S0, 8080, "10.0.0.9", 50000, 3));
    in(world, CLIENT_0, T0 + 3 * MILLI, DATA(VIP, 80, C0, 40000, 4));
    pop_translated(world, T0 + 3 * MILLI, true, S0, &id);
    show(world, T0 + 3 * MILLI);
    assert_shown(world, -1);
    g_assert_cmpuint(left_out(world), ==, 2);
    world_free(world);
}

/* A pod that calls itself through its service sees both legs at one point. */
static void test_hairpin(void)
{
    World *world = world_new(NULL, 0);
    uint64_t id = 0;
    translate(world, "10.0.0.9", C0, T0, 0);
    out(world, CLIENT_0, T0, SYN(C0, 40000, VIP, 80, 7, 1));
    in(world, CLIENT_0, T0 + MILLI, SYN("10.0.0.9", 50000, C0, 8080, 7, 2));
    pop_translated(world, T0 + MILLI, false, C0, &id);
    show(world, UINT64_MAX);
    assert_shown(world, -1);
    g_assert_cmpuint(left_out(world), ==, 1);
    world_free(world);
}

/* It is told when both legs are here already: what waits is joined all the same. */
static void test_late_translation(void)
{
    World *world = world_new(NULL, 0);
    uint64_t id = 0;
    out(world, CLIENT_0, T0, SYN(C0, 40000, VIP, 80, 7, 1));
    in(world, SERVER_0, T0 + MILLI, SYN("10.0.0.9", 50000, S0, 8080, 7, 2));
    show(world, T0 + MILLI);
    assert_shown(world, -1);
    translate(world, "10.0.0.9", S0, T0 + 2 * MILLI, 0);
    pop_translated(world, T0 + 2 * MILLI, false, S0, &id);
    show(world, UINT64_MAX);
    assert_shown(world, -1);
    g_assert_cmpuint(left_out(world), ==, 1);
    world_free(world);
}

/* Guessed by the client's port, and not so. */
static void test_wrong_guess_is_put_right(void)
{
    World *world = world_new(NULL, 0);
    out(world, CLIENT_0, T0, SYN(C0, 40000, VIP, 80, 7, 1));
    in(world, SERVER_1, T0 + MILLI, SYN(C0, 40000, server_address[1], 8080, 7, 2));
    in(world, SERVER_0, T0 + MILLI, SYN("10.0.0.9", 50000, S0, 8080, 7, 3));
    translate(world, "10.0.0.9", S0, T0, 0);
    uint64_t id = 0;
    VantagePacket packet;
    g_assert_true(vantage_pop(world->vantage, T0 + MILLI, &packet));
    g_assert_null(packet.flow); /* number 2 is a connection of its own */
    merge_buffer_unref(packet.packet.buffer);
    pop_translated(world, T0 + MILLI, false, S0, &id);
    g_assert_cmpuint(left_out(world), ==, 1);
    world_free(world);
}

/* kube-proxy makes UDP clients choose again when a server goes: same ports, another server. */
static void test_translated_anew(void)
{
    World *world = world_new(NULL, 0);
    uint64_t first = 0, second = 0;
    vantage_free(world->vantage);
    world->vantage = vantage_new(world->inventory, world->translations, 0, true);
    translate(world, C0, S0, T0, 0);
    translate(world, C0, S0, T0, T0 + 5 * SECOND);
    translate(world, C0, server_address[1], T0 + 5 * SECOND, 0);
    out(world, CLIENT_0, T0 + SECOND, DATA(C0, 40000, VIP, 80, 1));
    pop_translated(world, 0, false, S0, &first);
    out(world, CLIENT_0, T0 + 6 * SECOND, DATA(C0, 40000, VIP, 80, 2));
    pop_translated(world, 0, false, server_address[1], &second);
    g_assert_cmpuint(first, !=, second);
    world_free(world);
}

static void test_show_all(void)
{
    World *world = world_new(NULL, 0);
    vantage_free(world->vantage);
    world->vantage = vantage_new(world->inventory, world->translations, 0, true);
    out(world, CLIENT_0, T0, SYN(C0, 40000, S0, 8080, 1, 1)); /* before anything is known */
    show(world, T0);
    assert_shown(world, 1, -1);
    translate(world, "10.0.0.9", S0, T0, 0);
    uint64_t id = 0;
    out(world, CLIENT_0, T0, SYN(C0, 40000, VIP, 80, 7, 2));
    pop_translated(world, T0, false, S0, &id);
    in(world, SERVER_0, T0 + MILLI, SYN("10.0.0.9", 50000, S0, 8080, 7, 3));
    pop_translated(world, T0, false, S0, &id);
    in(world, SERVER_0, T0 + MILLI, SYN(C0, 40001, S0, 8080, 7, 4));
    out(world, CLIENT_0, T0 + MILLI, SYN(C0, 40001, S0, 8080, 7, 5));
    show(world, T0);
    assert_shown(world, 1, 4, 5, -1);
    g_assert_cmpuint(left_out(world), ==, 0);
    world_free(world);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vantage/translated/masqueraded", test_masqueraded_legs_are_joined);
    g_test_add_func("/vantage/translated/hairpin", test_hairpin);
    g_test_add_func("/vantage/translated/late", test_late_translation);
    g_test_add_func("/vantage/translated/wrong-guess", test_wrong_guess_is_put_right);
    g_test_add_func("/vantage/translated/anew", test_translated_anew);
    g_test_add_func("/vantage/translated/show-all", test_show_all);
    return g_test_run();
}
