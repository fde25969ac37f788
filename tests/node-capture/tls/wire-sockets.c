// SPDX-License-Identifier: GPL-2.0-or-later
/* Connections of memory get the ends of the ClientHello with their random, and all bytes come out
 * once, in order, in bounded time. */
#include <glib.h>
#include <string.h>
#include <sys/socket.h>

#include "node-capture/tls/wire-sockets.h"

enum { NETNS = 7, OTHER = 8, PID = 42, LISTENED = 443 };

#define START 1000u

typedef struct Told {
    uint64_t connection;
    char text[8];
    uint8_t family;
    bool is_server, end;
    uint16_t local, remote; /* ports */
} Told;

static GArray *told;
static unsigned asked;

static void take(void *userdata, const TlsPlaintext *plaintext)
{
    Told one = {.connection = plaintext->connection,
                .family = plaintext->family,
                .is_server = plaintext->is_server,
                .end = plaintext->end,
                .local = plaintext->local.port,
                .remote = plaintext->remote.port};
    g_assert_cmpuint(plaintext->length, <, sizeof(one.text));
    if (plaintext->length) {
        memcpy(one.text, plaintext->data, plaintext->length);
    }
    g_array_append_val(told, one);
}

static bool is_listening(uint32_t pid, uint16_t port)
{
    g_assert_cmpuint(pid, ==, PID);
    asked++;
    return port == LISTENED;
}

static WireSockets *fresh(void)
{
    static const WireSocketsCallbacks callbacks = {take, is_listening};
    g_clear_pointer(&told, g_array_unref);
    told = g_array_new(FALSE, FALSE, sizeof(Told));
    asked = 0;
    return wire_sockets_new(&callbacks, NULL);
}

static const uint8_t *random_of(unsigned number)
{
    static uint8_t random[TLS_KEYS_RANDOM];
    memset(random, 0x11, sizeof(random));
    memcpy(random, &number, sizeof(number));
    return random;
}

static void saw(WireSockets *sockets, unsigned number, uint64_t time_ns, uint16_t client_port,
                uint16_t server_port)
{
    TlsSeenHello hello = {.netns_inode = NETNS,
                          .time_unix_ns = time_ns,
                          .has_random = true,
                          .family = AF_INET,
                          .client = {{10, 0, 0, 1}, client_port},
                          .server = {{10, 0, 0, 2}, server_port}};
    memcpy(hello.random, random_of(number), sizeof(hello.random));
    wire_sockets_saw(sockets, &hello);
}

/* Copied at once, so that what is kept is not what was given. */
static void add(WireSockets *sockets, TlsPlaintext plaintext, const char *text, uint64_t now_ns)
{
    g_autofree char *copy = g_strdup(text);
    plaintext.data = (uint8_t *)copy;
    plaintext.length = strlen(text);
    plaintext.end = plaintext.length == 0;
    wire_sockets_add(sockets, &plaintext, now_ns);
}

static TlsPlaintext client(unsigned number)
{
    return (TlsPlaintext){.connection = number,
                          .netns_inode = NETNS,
                          .pid = PID,
                          .has_role = true,
                          .random = random_of(number)};
}

static TlsPlaintext server(unsigned number)
{
    TlsPlaintext plaintext = client(number);
    plaintext.is_server = true;
    return plaintext;
}

static void assert_told(unsigned i, const char *text, uint8_t family, bool is_server,
                        uint16_t local, uint16_t remote)
{
    g_assert_cmpuint(i, <, told->len);
    const Told *one = &g_array_index(told, Told, i);
    g_assert_cmpstr(one->text, ==, text);
    g_assert_cmpuint(one->end, ==, !*text);
    g_assert_cmpuint(one->family, ==, family);
    g_assert_cmpuint(one->is_server, ==, is_server);
    g_assert_cmpuint(one->local, ==, local);
    g_assert_cmpuint(one->remote, ==, remote);
}

static void test_both_ends(void)
{
    WireSockets *sockets = fresh();
    saw(sockets, 1, START, 40001, 443);
    add(sockets, client(1), "ask", START);
    assert_told(0, "ask", AF_INET, false, 40001, 443);
    TlsPlaintext other = server(1);
    other.connection = 2;
    add(sockets, other, "ask", START);
    assert_told(1, "ask", AF_INET, true, 443, 40001);
    /* What follows needs no random. */
    TlsPlaintext later = client(1);
    later.random = NULL;
    add(sockets, later, "more", START);
    assert_told(2, "more", AF_INET, false, 40001, 443);
    add(sockets, later, "", START);
    assert_told(3, "", AF_INET, false, 40001, 443);
    g_assert_cmpuint(wire_sockets_unknown(sockets), ==, 0);
    wire_sockets_free(sockets);
}

/* Bytes come first; also the end of the connection does. */
static void test_waits(void)
{
    WireSockets *sockets = fresh();
    add(sockets, client(1), "one", START);
    add(sockets, client(1), "two", START);
    add(sockets, client(2), "other", START);
    add(sockets, client(1), "", START);
    wire_sockets_run(sockets, START + WIRE_SOCKETS_WAIT_NS - 1);
    g_assert_cmpuint(told->len, ==, 0);
    saw(sockets, 1, START, 40001, 443);
    wire_sockets_run(sockets, START + WIRE_SOCKETS_WAIT_NS - 1);
    g_assert_cmpuint(told->len, ==, 3);
    assert_told(0, "one", AF_INET, false, 40001, 443);
    assert_told(1, "two", AF_INET, false, 40001, 443);
    assert_told(2, "", AF_INET, false, 40001, 443);
    /* That number is somebody else's now. */
    TlsPlaintext again = client(1);
    again.random = random_of(9);
    add(sockets, again, "again", START + 1);
    g_assert_cmpuint(told->len, ==, 3);
    wire_sockets_free(sockets);
}

static void test_nobody_saw_it(void)
{
    WireSockets *sockets = fresh();
    add(sockets, client(1), "one", START);
    TlsPlaintext without = client(2);
    without.random = NULL;
    add(sockets, without, "two", START);
    assert_told(0, "two", 0, false, 0, 0);
    wire_sockets_run(sockets, START + WIRE_SOCKETS_WAIT_NS);
    assert_told(1, "one", 0, false, 0, 0);
    /* It has been told without by now, and stays so. */
    saw(sockets, 1, START, 40001, 443);
    add(sockets, client(1), "more", START);
    assert_told(2, "more", 0, false, 0, 0);
    g_assert_cmpuint(wire_sockets_unknown(sockets), ==, 2);
    /* Another namespace's is not it. */
    saw(sockets, 3, START, 40003, 443);
    TlsPlaintext elsewhere = client(3);
    elsewhere.netns_inode = OTHER;
    add(sockets, elsewhere, "else", START);
    g_assert_cmpuint(told->len, ==, 3);
    wire_sockets_free(sockets);
}

/* The hooks have seen it after all; and what they saw from the first passes. */
static void test_socket_comes_later(void)
{
    WireSockets *sockets = fresh();
    add(sockets, client(1), "one", START);
    TlsPlaintext known = client(1);
    known.family = AF_INET6;
    known.local.port = 1;
    known.remote.port = 2;
    known.random = NULL;
    add(sockets, known, "two", START);
    assert_told(0, "one", AF_INET6, false, 1, 2);
    assert_told(1, "two", AF_INET6, false, 1, 2);
    add(sockets, client(5), "five", START);
    add(sockets, client(5), "", START);
    known.connection = 5;
    add(sockets, known, "?", START);
    g_assert_cmpuint(told->len, ==, 5);
    wire_sockets_free(sockets);
}

static void test_role(void)
{
    WireSockets *sockets = fresh();
    TlsPlaintext plaintext = client(1);
    plaintext.has_role = false;
    saw(sockets, 1, START, 40001, LISTENED);
    add(sockets, plaintext, "one", START);
    assert_told(0, "one", AF_INET, true, LISTENED, 40001);
    plaintext.connection = 2;
    plaintext.random = random_of(2);
    saw(sockets, 2, START, 40002, 9999);
    add(sockets, plaintext, "two", START);
    assert_told(1, "two", AF_INET, false, 40002, 9999);
    g_assert_cmpuint(asked, ==, 2);
    wire_sockets_free(sockets);
}

/* A proxy in the pod passes TLS on: the client is at the first pair of ends, whichever was told
 * first; a server may be at either. */
static void test_passed_on(void)
{
    WireSockets *sockets = fresh();
    saw(sockets, 1, START + 5, 50000, 443);
    saw(sockets, 1, START, 40001, 15001);
    saw(sockets, 1, START + 6, 50000, 443);
    add(sockets, client(1), "one", START);
    assert_told(0, "one", AF_INET, false, 40001, 15001);
    TlsPlaintext nobody = client(1);
    nobody.connection = 3;
    nobody.has_role = false;
    add(sockets, nobody, "x", START);
    TlsPlaintext other = server(1);
    other.connection = 2;
    add(sockets, other, "two", START);
    g_assert_cmpuint(told->len, ==, 1);
    g_assert_cmpuint(asked, ==, 0);
    wire_sockets_run(sockets, START + WIRE_SOCKETS_WAIT_NS);
    assert_told(1, "x", 0, false, 0, 0);
    assert_told(2, "two", 0, true, 0, 0);
    /* The same ends again are a retransmission. */
    saw(sockets, 4, START, 40004, 443);
    saw(sockets, 4, START + 1, 40004, 443);
    add(sockets, server(4), "four", START);
    assert_told(3, "four", AF_INET, true, 443, 40004);
    wire_sockets_free(sockets);
}

/* What waits has a bound of memory; those that wait longest go on, each with all of its bytes. */
static void test_bounded(void)
{
    WireSockets *sockets = fresh();
    const unsigned count = WIRE_SOCKETS_WAITING_MAX / 64;
    for (unsigned i = 1; i <= count; i++) {
        add(sockets, client(i), "piece", START);
    }
    g_assert_cmpuint(told->len, >, 0);
    g_assert_cmpuint(wire_sockets_unknown(sockets), ==, told->len);
    for (unsigned i = 0; i < told->len; i++) {
        g_assert_cmpuint(g_array_index(told, Told, i).connection, ==, i + 1);
    }
    wire_sockets_run(sockets, START + WIRE_SOCKETS_WAIT_NS);
    g_assert_cmpuint(told->len, ==, count);
    wire_sockets_free(sockets);
}

/* Of more than are remembered the oldest go. */
static void test_forgets(void)
{
    WireSockets *sockets = fresh();
    for (unsigned i = 0; i <= WIRE_SOCKETS_HELLOS; i++) {
        saw(sockets, i, START + i, 40000, 443);
    }
    add(sockets, client(0), "first", START);
    g_assert_cmpuint(told->len, ==, 0);
    add(sockets, client(1), "second", START);
    assert_told(0, "second", AF_INET, false, 40000, 443);
    for (unsigned i = 0; i <= WIRE_SOCKETS_CONNECTIONS; i++) {
        TlsPlaintext without = client(1000000 + i);
        without.random = NULL;
        add(sockets, without, "x", START);
    }
    TlsPlaintext later = client(1);
    later.random = NULL;
    add(sockets, later, "more", START);
    assert_told(told->len - 1, "more", 0, false, 0, 0);
    wire_sockets_free(sockets);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wire-sockets/both-ends", test_both_ends);
    g_test_add_func("/wire-sockets/waits", test_waits);
    g_test_add_func("/wire-sockets/nobody-saw-it", test_nobody_saw_it);
    g_test_add_func("/wire-sockets/socket-comes-later", test_socket_comes_later);
    g_test_add_func("/wire-sockets/role", test_role);
    g_test_add_func("/wire-sockets/passed-on", test_passed_on);
    g_test_add_func("/wire-sockets/bounded", test_bounded);
    g_test_add_func("/wire-sockets/forgets", test_forgets);
    return g_test_run();
}
