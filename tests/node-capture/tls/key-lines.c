// SPDX-License-Identifier: GPL-2.0-or-later
/* Secrets become lines of a key log, each once. */
#include <glib.h>
#include <string.h>

#include "node-capture/tls/key-lines.h"

typedef struct Told {
    GString *text;
    unsigned times;
    uint64_t netns_inode, time_ns;
    size_t longest;
} Told;

static void on_lines(uint64_t netns_inode, uint64_t time_ns, const char *lines, size_t length,
                     void *userdata)
{
    Told *told = userdata;
    g_string_append_len(told->text, lines, (gssize)length);
    told->times++;
    told->netns_inode = netns_inode;
    told->time_ns = time_ns;
    told->longest = MAX(told->longest, length);
}

static bool add(KeyLines *lines, uint64_t netns, const char *label, uint32_t number, size_t length)
{
    uint8_t random[KEY_LINES_RANDOM] = {0}, secret[256];
    memcpy(random + 28, &number, sizeof(number));
    memset(secret, 0xa5, sizeof(secret));
    return key_lines_add(lines, netns, number, label, strlen(label), random, secret, length);
}

/* As the draft of the format has it: label, client random and secret in lower case hexadecimal. */
static void test_form(void)
{
    Told told = {.text = g_string_new(NULL)};
    KeyLines *lines = key_lines_new(on_lines, &told);
    uint8_t random[KEY_LINES_RANDOM];
    for (size_t i = 0; i < sizeof(random); i++) {
        random[i] = (uint8_t)(i * 8 + 1);
    }
    const uint8_t secret[] = {0x00, 0xff, 0x1a};
    g_assert_true(key_lines_add(lines, 7, 99, "EXPORTER_SECRETxx", 15, random, secret, 3));
    g_assert_cmpuint(told.times, ==, 0);
    key_lines_flush(lines);
    g_assert_cmpstr(
        told.text->str, ==,
        "EXPORTER_SECRET 0109111921293139414951596169717981899199a1a9b1b9c1c9d1d9e1e9f1f9"
        " 00ff1a\n");
    g_assert_cmpuint(told.netns_inode, ==, 7);
    g_assert_cmpuint(told.time_ns, ==, 99);
    key_lines_flush(lines);
    g_assert_cmpuint(told.times, ==, 1);
    key_lines_free(lines);
    g_string_free(told.text, TRUE);
}

static void test_once(void)
{
    Told told = {.text = g_string_new(NULL)};
    KeyLines *lines = key_lines_new(on_lines, &told);
    g_assert_true(add(lines, 1, "CLIENT_RANDOM", 1, 48));
    g_assert_false(add(lines, 1, "CLIENT_RANDOM", 1, 48));
    g_assert_true(add(lines, 1, "CLIENT_RANDOM", 2, 48));
    g_assert_true(add(lines, 1, "EXPORTER_SECRET", 1, 48)); /* another secret of the connection */
    /* The other end of the same connection: whoever asked for that pod alone needs it, too. */
    g_assert_true(add(lines, 2, "CLIENT_RANDOM", 2, 48));
    g_assert_false(add(lines, 2, "CLIENT_RANDOM", 2, 48));
    for (uint32_t i = 0; i < KEY_LINES_REMEMBERED; i++) {
        g_assert_true(add(lines, 1, "CLIENT_RANDOM", 100 + i, 48));
    }
    g_assert_true(add(lines, 1, "CLIENT_RANDOM", 1, 48)); /* forgotten by now */
    g_assert_false(add(lines, 1, "CLIENT_RANDOM", 99 + KEY_LINES_REMEMBERED, 48));
    key_lines_free(lines);
    g_string_free(told.text, TRUE);
}

static void test_together(void)
{
    Told told = {.text = g_string_new(NULL)};
    KeyLines *lines = key_lines_new(on_lines, &told);
    for (uint32_t i = 0; i < 100; i++) {
        g_assert_true(add(lines, 1, "CLIENT_HANDSHAKE_TRAFFIC_SECRET", i, KEY_LINES_SECRET_MAX));
    }
    add(lines, 2, "CLIENT_RANDOM", 1000, 48); /* not in one with those of another namespace */
    g_assert_cmpuint(told.netns_inode, ==, 1);
    key_lines_flush(lines);
    g_assert_cmpuint(told.netns_inode, ==, 2);
    g_assert_cmpuint(told.longest, <=, TLS_KEYS_LINES_MAX);
    g_assert_cmpuint(told.times, <, 12);
    g_auto(GStrv) all = g_strsplit(told.text->str, "\n", -1);
    g_assert_cmpuint(g_strv_length(all), ==, 102); /* the last is empty */
    key_lines_free(lines);
    g_string_free(told.text, TRUE);
}

/* Both ends of connections, and more namespaces than are kept apart. */
static void test_in_turn(void)
{
    Told told = {.text = g_string_new(NULL)};
    KeyLines *lines = key_lines_new(on_lines, &told);
    for (uint32_t i = 0; i < 20; i++) {
        g_assert_true(add(lines, 1 + i % 2, "CLIENT_RANDOM", i, 48));
    }
    g_assert_cmpuint(told.times, ==, 0);
    key_lines_flush(lines);
    g_assert_cmpuint(told.times, ==, 2);
    for (uint32_t i = 0; i < 100; i++) {
        g_assert_true(add(lines, i, "CLIENT_RANDOM", 100 + i, 48));
    }
    key_lines_flush(lines);
    g_assert_cmpuint(told.times, ==, 102);
    g_auto(GStrv) all = g_strsplit(told.text->str, "\n", -1);
    g_assert_cmpuint(g_strv_length(all), ==, 121); /* the last is empty */
    key_lines_free(lines);
    g_string_free(told.text, TRUE);
}

/* A process may have anything in its memory. */
static void test_hostile(void)
{
    Told told = {.text = g_string_new(NULL)};
    KeyLines *lines = key_lines_new(on_lines, &told);
    g_assert_false(add(lines, 1, "", 1, 48));
    g_assert_false(add(lines, 1, "CLIENT RANDOM", 1, 48));
    g_assert_false(add(lines, 1, "CLIENT\nRANDOM", 1, 48));
    g_assert_false(add(lines, 1, "client_random", 1, 48));
    g_assert_false(add(lines, 1, "CLIENT_\xff", 1, 48));
    g_assert_false(add(lines, 1, "A123456789B123456789C123456789D123456789", 1, 48));
    g_assert_false(add(lines, 1, "CLIENT_RANDOM", 1, 0));
    g_assert_false(add(lines, 1, "CLIENT_RANDOM", 1, KEY_LINES_SECRET_MAX + 1));
    g_assert_true(add(lines, 1, "CLIENT_RANDOM", 1, KEY_LINES_SECRET_MAX));
    key_lines_free(lines);
    g_string_free(told.text, TRUE);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tls/key-lines/form", test_form);
    g_test_add_func("/tls/key-lines/once", test_once);
    g_test_add_func("/tls/key-lines/together", test_together);
    g_test_add_func("/tls/key-lines/in-turn", test_in_turn);
    g_test_add_func("/tls/key-lines/hostile", test_hostile);
    return g_test_run();
}
