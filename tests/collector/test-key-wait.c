// SPDX-License-Identifier: GPL-2.0-or-later
#include <glib.h>
#include <string.h>

#include "collector/key-wait.h"

#define RAW 101

/* An IPv4 packet between 10.0.0.1:`port` and 10.0.0.2:443 with the beginning of a hello. */
static size_t hello(uint8_t packet[static 128], bool of_server, uint16_t port, uint8_t mark)
{
    memset(packet, 0, 128);
    uint8_t *tcp = packet + 20, *record = packet + 40;
    packet[0] = 0x45;
    packet[9] = 6;
    memcpy(packet + 12, (uint8_t[]){10, 0, 0, of_server ? 2 : 1}, 4);
    memcpy(packet + 16, (uint8_t[]){10, 0, 0, of_server ? 1 : 2}, 4);
    const uint16_t ports[] = {of_server ? 443 : port, of_server ? port : 443};
    for (int i = 0; i < 2; i++) {
        tcp[2 * i] = (uint8_t)(ports[i] >> 8);
        tcp[2 * i + 1] = (uint8_t)ports[i];
    }
    tcp[12] = 0x50;
    memcpy(record, (uint8_t[]){0x16, 3, 3, 0, 80, of_server ? 2 : 1, 0, 0, 76, 3, 3}, 11);
    memset(record + 11, mark, 32);
    memcpy(record + 44, (uint8_t[]){0x13, 1}, 2); /* after an empty session id */
    return 128;
}

static bool packet(KeyWait *wait, bool of_server, uint16_t port, uint8_t mark)
{
    uint8_t bytes[128];
    size_t length = hello(bytes, of_server, port, mark);
    return key_wait_packet(wait, RAW, bytes, length);
}

static void secrets(KeyWait *wait, const char *label, uint8_t mark)
{
    g_autoptr(GString) line = g_string_new(label);
    g_string_append_c(line, ' ');
    for (int i = 0; i < 32; i++)
        g_string_append_printf(line, "%02x", mark);
    g_string_append(line, " 0011\n");
    key_wait_secrets(wait, (const uint8_t *)line->str, line->len);
}

static void all_secrets(KeyWait *wait, uint8_t mark)
{
    secrets(wait, "CLIENT_TRAFFIC_SECRET_0", mark);
    secrets(wait, "SERVER_TRAFFIC_SECRET_0", mark);
}

static void test_waits(void)
{
    KeyWait *wait = key_wait_new();
    g_assert_false(packet(wait, false, 4000, 0x11));
    g_assert_true(packet(wait, true, 4000, 0x99));
    g_assert_false(key_wait_is_over(wait));
    secrets(wait, "CLIENT_TRAFFIC_SECRET_0", 0x11);
    secrets(wait, "SERVER_HANDSHAKE_TRAFFIC_SECRET", 0x11);
    all_secrets(wait, 0x12);
    g_assert_false(key_wait_is_over(wait));
    secrets(wait, "SERVER_TRAFFIC_SECRET_0", 0x11);
    g_assert_true(key_wait_is_over(wait));
    key_wait_free(wait);
}

static void test_does_not_wait(void)
{
    KeyWait *wait = key_wait_new();
    g_assert_false(packet(wait, true, 4000, 1)); /* it began before */
    packet(wait, false, 4000, 0x11);
    all_secrets(wait, 0x11);
    g_assert_false(packet(wait, true, 4000, 0x99)); /* they are there */
    g_assert_false(packet(wait, true, 4001, 0x99)); /* another connection */
    key_wait_secrets(wait, (const uint8_t *)"nonsense\n\nCLIENT_TRAFFIC_SECRET_0 zz", 36);
    key_wait_free(wait);
}

/* Of a server of which nothing comes nothing is expected; until it does. */
static void test_in_vain(void)
{
    KeyWait *wait = key_wait_new();
    for (uint16_t i = 0; i < KEY_WAIT_IN_VAIN; i++) {
        packet(wait, false, 4000 + i, (uint8_t)(1 + i));
        g_assert_true(packet(wait, true, 4000 + i, 0x99));
        key_wait_give_up(wait);
    }
    packet(wait, false, 5000, 0x51);
    g_assert_false(packet(wait, true, 5000, 0x99));
    packet(wait, false, 5001, 0x52);
    all_secrets(wait, 0x52);
    g_assert_false(packet(wait, true, 5001, 0x99));
    packet(wait, false, 5002, 0x53);
    g_assert_true(packet(wait, true, 5002, 0x99));
    all_secrets(wait, 0x53);
    g_assert_true(key_wait_is_over(wait));
    key_wait_free(wait);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/key-wait/waits", test_waits);
    g_test_add_func("/key-wait/does-not-wait", test_does_not_wait);
    g_test_add_func("/key-wait/in-vain", test_in_vain);
    return g_test_run();
}
