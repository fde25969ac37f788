// SPDX-License-Identifier: GPL-2.0-or-later
/* What name servers say, and what becomes of it. */
#include <errno.h>
#include <string.h>

#include "collector/followed-name.h"
#include "common/rpc/rpc.h"
#include "fake-dns.h"
#include "fixture.h"

/* ---- Answers ---------------------------------------------------------------------------------*/

static void check_usable(const char *answer, unsigned max, const char *expected, unsigned left_out)
{
    g_auto(GStrv) addresses = g_strsplit(answer, " ", -1);
    unsigned left;
    g_auto(GStrv) usable = resolve_usable(addresses, max, &left);
    g_autofree char *text = g_strjoinv(" ", usable);
    g_assert_cmpstr(text, ==, expected);
    g_assert_cmpuint(left, ==, left_out);
}

static void test_usable(void)
{
    check_usable("10.0.0.2 10.0.0.1", 9, "10.0.0.1 10.0.0.2", 0);
    check_usable("fd00::1 10.0.0.1 FD00:0::0:1 10.0.0.1", 9, "10.0.0.1 fd00::1", 0);
    check_usable("::ffff:10.0.0.1 10.0.0.1", 9, "10.0.0.1", 0);
    check_usable("10.0.0.3 10.0.0.1 10.0.0.2", 2, "10.0.0.1 10.0.0.2", 1);
    check_usable("10.0.0.1 10.0.0.1 10.0.0.1", 1, "10.0.0.1", 0);
    check_usable("127.0.0.1 ::1", 9, "127.0.0.1 ::1", 0);
}

static void test_nobodys(void)
{
    static const char *const nobodys[] = {
        "0.0.0.0",
        "0.1.2.3",
        "255.255.255.255",
        "240.0.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "::",
        "ff02::1",
        "fe80::1",
        "::ffff:0.0.0.0",
        "::ffff:224.0.0.1",
        "unix:/run/x",
        "10.0.0.1:80",
        "[fd00::1]",
        "",
        "node-a",
        "10.0.0.1/../etc",
        "10.0.0.256",
        "1.2.3",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(nobodys); i++)
        check_usable(nobodys[i], 9, "", 0);
}

/* ---- The system ------------------------------------------------------------------------------*/

static void test_system(void)
{
    GError *error = NULL;
    Lookup *lookup = lookup_start(&resolver_system, "127.0.0.5");
    g_assert_true(lookup_wait(lookup, 20 * SECOND));
    g_auto(GStrv) addresses = lookup_take(lookup, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(g_strv_length(addresses), ==, 1);
    g_assert_cmpstr(addresses[0], ==, "127.0.0.5");
    lookup_free(lookup);
}

/* Whoever asked need not wait for a name server that is silent. */
static void test_cancel(void)
{
    FakeDns dns;
    fake_dns_init(&dns);
    fake_dns_fail(&dns, -1);
    Lookup *lookup = lookup_start(&dns.resolver, "a");
    fake_dns_wait(&dns, 1);
    g_assert_false(lookup_wait(lookup, 0));
    g_assert_false(lookup_wait(lookup, 5 * MILLI));
    lookup_free(lookup);
    fake_dns_clear(&dns);
}

/* ---- A name over time ------------------------------------------------------------------------*/

typedef struct World {
    FakeDns dns;
    FollowedName *name;
    uint64_t now_ns;
} World;

static void setup(World *world, gconstpointer endpoint)
{
    GError *error = NULL;
    fake_dns_init(&world->dns);
    world->now_ns = 1000 * SECOND;
    world->name = followed_name_new(endpoint ? endpoint : "dns:///nodes.remora", true,
                                    &world->dns.resolver, 0, &error);
    g_assert_no_error(error);
}

static void teardown(World *world, gconstpointer endpoint)
{
    followed_name_free(world->name);
    fake_dns_clear(&world->dns);
}

/* Asks now, and waits for what is said. */
static FollowedNameNews ask(World *world)
{
    world->now_ns = MAX(world->now_ns, world->name->next_ns);
    FollowedNameNews news = followed_name_tend(world->name, world->now_ns, 0);
    if (news != FOLLOWED_NAME_NO_NEWS)
        return news;
    g_assert_nonnull(world->name->lookup);
    g_assert_true(lookup_wait(world->name->lookup, 20 * SECOND));
    return followed_name_tend(world->name, world->now_ns, 0);
}

static void check_nodes(World *world, const char *expected)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; i < world->name->nodes->len; i++) {
        const char *node = world->name->nodes->pdata[i];
        g_string_append_printf(text, "%s%s", i ? " " : "", node);
        g_assert_true(followed_name_has(world->name, node));
    }
    g_assert_cmpstr(text->str, ==, expected);
    g_assert_cmpuint(g_hash_table_size(world->name->set), ==, world->name->nodes->len);
}

static void test_follows(World *world, gconstpointer data)
{
    fake_dns_answer(&world->dns, "10.0.0.2 fd00::2");
    g_assert_cmpint(ask(world), ==, FOLLOWED_NAME_ANSWER);
    g_assert_cmpstr(world->dns.last, ==, "nodes.remora");
    check_nodes(world, "10.0.0.2:7470 [fd00::2]:7470");
    g_assert_null(world->name->problem);
    fake_dns_answer(&world->dns, "10.0.0.3");
    g_assert_cmpint(ask(world), ==, FOLLOWED_NAME_ANSWER);
    check_nodes(world, "10.0.0.3:7470");
    g_assert_false(followed_name_has(world->name, "10.0.0.2:7470"));
}

static void test_port(World *world, gconstpointer data)
{
    fake_dns_answer(&world->dns, "10.0.0.2 fd00::2");
    g_assert_cmpint(ask(world), ==, FOLLOWED_NAME_ANSWER);
    check_nodes(world, "10.0.0.2:81 [fd00::2]:81");
}

static void test_pace(World *world, gconstpointer data)
{
    fake_dns_answer(&world->dns, "10.0.0.2");
    ask(world);
    g_assert_cmpuint(world->name->next_ns, ==, world->now_ns + 5 * SECOND);
    uint64_t asked_ns = world->now_ns;
    followed_name_hurry(world->name, asked_ns + MILLI);
    g_assert_cmpuint(world->name->next_ns, ==, asked_ns + SECOND);
    followed_name_hurry(world->name, asked_ns + 3 * SECOND); /* never later than it would be */
    g_assert_cmpuint(world->name->next_ns, ==, asked_ns + SECOND);
    g_assert_cmpint(followed_name_tend(world->name, asked_ns + SECOND - 1, 0), ==,
                    FOLLOWED_NAME_NO_NEWS);
    g_assert_null(world->name->lookup);

    world->now_ns = asked_ns + SECOND;
    FollowedNameNews news = followed_name_tend(world->name, world->now_ns, 1);
    if (news == FOLLOWED_NAME_NO_NEWS) {
        g_assert_true(lookup_wait(world->name->lookup, 20 * SECOND));
        news = followed_name_tend(world->name, world->now_ns, 1);
    }
    g_assert_cmpint(news, ==, FOLLOWED_NAME_ANSWER);
    g_assert_cmpuint(world->name->next_ns, ==, world->now_ns + 10 * SECOND);

    /* What fails is tried again soon, but not for ever. */
    fake_dns_fail(&world->dns, G_RESOLVER_ERROR_TEMPORARY_FAILURE);
    for (unsigned i = 1; i <= 5; i++) {
        ask(world);
        g_assert_cmpuint(world->name->next_ns, ==, world->now_ns + (i <= 3 ? 1 : 5) * SECOND);
    }
}

static void test_denials(World *world, gconstpointer data)
{
    fake_dns_answer(&world->dns, "10.0.0.2 10.0.0.3");
    ask(world);
    fake_dns_fail(&world->dns, G_RESOLVER_ERROR_NOT_FOUND);
    g_assert_cmpint(ask(world), ==, FOLLOWED_NAME_PROBLEM);
    g_assert_cmpstr(world->name->problem, ==, "the name is not known, or has no addresses");
    check_nodes(world, "10.0.0.2:7470 10.0.0.3:7470"); /* once is not enough */
    fake_dns_fail(&world->dns, G_RESOLVER_ERROR_TEMPORARY_FAILURE);
    for (int i = 0; i < 10; i++) {
        g_assert_cmpint(ask(world), ==, FOLLOWED_NAME_PROBLEM);
        g_assert_cmpstr(world->name->problem, ==, "no name server gives an answer");
    }
    fake_dns_fail(&world->dns, G_RESOLVER_ERROR_NOT_FOUND);
    ask(world);
    check_nodes(world, "10.0.0.2:7470 10.0.0.3:7470"); /* nor twice with others between */
    ask(world);
    check_nodes(world, "");
    fake_dns_answer(&world->dns, "10.0.0.3");
    g_assert_cmpint(ask(world), ==, FOLLOWED_NAME_ANSWER);
    check_nodes(world, "10.0.0.3:7470");
    g_assert_null(world->name->problem);
}

static void test_nothing_usable(World *world, gconstpointer data)
{
    fake_dns_answer(&world->dns, "10.0.0.2");
    ask(world);
    fake_dns_answer(&world->dns, "0.0.0.0 224.0.0.1");
    for (int i = 0; i < 3; i++)
        g_assert_cmpint(ask(world), ==, FOLLOWED_NAME_PROBLEM);
    check_nodes(world, "10.0.0.2:7470");
}

static void test_silence(World *world, gconstpointer data)
{
    fake_dns_answer(&world->dns, "10.0.0.2");
    ask(world);
    fake_dns_fail(&world->dns, -1);
    world->now_ns = world->name->next_ns;
    g_assert_cmpint(followed_name_tend(world->name, world->now_ns, 0), ==, FOLLOWED_NAME_NO_NEWS);
    g_assert_cmpint(followed_name_tend(world->name, world->now_ns + 5 * SECOND - 1, 0), ==,
                    FOLLOWED_NAME_NO_NEWS);
    g_assert_nonnull(world->name->lookup);
    g_assert_cmpint(followed_name_tend(world->name, world->now_ns + 5 * SECOND, 0), ==,
                    FOLLOWED_NAME_PROBLEM);
    g_assert_cmpstr(world->name->problem, ==, FOLLOWED_NAME_SILENCE);
    g_assert_null(world->name->lookup);
    check_nodes(world, "10.0.0.2:7470");
}

static void test_many(World *world, gconstpointer data)
{
    g_autoptr(GString) text = g_string_new("10.1.0.0");
    for (unsigned i = 1; i < 3000; i++)
        g_string_append_printf(text, " 10.1.%u.%u", i / 256, i % 256);
    fake_dns_answer(&world->dns, text->str);
    g_assert_cmpint(ask(world), ==, FOLLOWED_NAME_ANSWER);
    g_assert_cmpuint(world->name->nodes->len, ==, FOLLOWED_NAME_NODES_MAX);
    g_assert_cmpuint(world->name->left_out, ==, 3000 - FOLLOWED_NAME_NODES_MAX);
}

/* ---- What is a name --------------------------------------------------------------------------*/

static void test_parse(void)
{
    static const struct {
        const char *endpoint, *name;
        uint16_t port;
    } names[] = {
        {"dns:///remora-node.remora", "remora-node.remora", 7470},
        {"dns:///remora-node.remora.svc.cluster.local.:80", "remora-node.remora.svc.cluster.local.",
         80},
        {"dns:///10.0.0.1", "10.0.0.1", 7470},
        {"dns:///[fd00::1]", "fd00::1", 7470},
        {"dns:///[fd00::1]:81", "fd00::1", 81},
    };
    static const char *const none[] = {
        "dns:///",    "dns:///:80",   "dns:///a:b",     "dns:///a:",       "dns:///a/b",
        "dns:///a b", "dns:///a:1:2", "dns:///fd00::1", "dns:///[fd00::1", "dns:///a:70000"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *name = NULL;
        uint16_t port;
        g_assert_true(rpc_name_parse(names[i].endpoint, 7470, true, &name, &port, NULL));
        g_assert_cmpstr(name, ==, names[i].name);
        g_assert_cmpuint(port, ==, names[i].port);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(none); i++) {
        g_autoptr(GError) error = NULL;
        char *name;
        uint16_t port;
        if (rpc_name_parse(none[i], 7470, true, &name, &port, &error))
            g_error("\"%s\" was taken for a name", none[i]);
        g_assert_error(error, RPC_ERROR, EINVAL);
        g_assert_nonnull(strstr(error->message, none[i]));
    }
}

static void test_plain(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *name = NULL;
    uint16_t port;
    g_assert_false(rpc_name_parse("dns:///nodes.remora", 7470, false, &name, &port, &error));
    g_assert_error(error, RPC_ERROR, EPERM);
    g_assert_nonnull(strstr(error->message, "--insecure"));
    g_assert_true(rpc_name_parse("dns:///localhost", 7470, false, &name, &port, NULL));
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(PATH, DATA, FUNCTION) \
    g_test_add("/followed-name/" PATH, World, DATA, setup, FUNCTION, teardown)
    g_test_add_func("/resolve/usable", test_usable);
    g_test_add_func("/resolve/nobodys", test_nobodys);
    g_test_add_func("/resolve/system", test_system);
    g_test_add_func("/resolve/cancel", test_cancel);
    g_test_add_func("/followed-name/parse", test_parse);
    g_test_add_func("/followed-name/plain", test_plain);
    ADD("follows", NULL, test_follows);
    ADD("port", "dns:///nodes.remora:81", test_port);
    ADD("pace", NULL, test_pace);
    ADD("denials", NULL, test_denials);
    ADD("nothing-usable", NULL, test_nothing_usable);
    ADD("silence", NULL, test_silence);
    ADD("many", NULL, test_many);
    return g_test_run();
}
