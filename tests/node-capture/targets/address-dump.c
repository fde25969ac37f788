// SPDX-License-Identifier: GPL-2.0-or-later
/* Messages of rtnetlink put together by hand, whole and torn. */
#include "node-capture/targets/address-dump.h"

#include <arpa/inet.h>
#include <errno.h>
#include <glib.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <string.h>
#include <sys/socket.h>

#define SEQUENCE 7

typedef struct Told {
    unsigned addresses, changed, done;
    NetnsAddress last;
} Told;

static void on_address(const NetnsAddress *address, void *userdata)
{
    Told *told = userdata;
    told->addresses++;
    told->last = *address;
}

static void on_changed(void *userdata)
{
    ((Told *)userdata)->changed++;
}

static void on_done(void *userdata)
{
    ((Told *)userdata)->done++;
}

static const AddressDumpEvents events = {on_address, on_changed, on_done};

/* Exactly as long as it is, so that the address sanitizer sees any read past it. */
static int read_bytes(const GByteArray *bytes, size_t length, Told *told)
{
    g_autofree uint8_t *copy = g_memdup2(bytes->data, MAX(length, 1));
    *told = (Told){0};
    return address_dump_read(copy, length, SEQUENCE, &events, told);
}

static void put_header(GByteArray *bytes, uint16_t type, uint32_t sequence, size_t body)
{
    struct nlmsghdr header = {
        .nlmsg_len = (uint32_t)(NLMSG_HDRLEN + body), .nlmsg_type = type, .nlmsg_seq = sequence};
    g_byte_array_append(bytes, (uint8_t *)&header, sizeof(header));
}

static void put_attribute(GByteArray *bytes, uint16_t type, const void *data, size_t length)
{
    static const uint8_t zeros[4];
    struct rtattr attribute = {.rta_len = (uint16_t)RTA_LENGTH(length), .rta_type = type};
    g_byte_array_append(bytes, (uint8_t *)&attribute, sizeof(attribute));
    g_byte_array_append(bytes, data, (guint)length);
    g_byte_array_append(bytes, zeros, (guint)(RTA_SPACE(length) - RTA_LENGTH(length)));
}

static void put_address(GByteArray *bytes, uint32_t sequence, uint8_t family, const void *local,
                        const void *peer)
{
    size_t length = family == AF_INET ? 4 : 16;
    struct ifaddrmsg message = {
        .ifa_family = family, .ifa_prefixlen = 24, .ifa_scope = RT_SCOPE_LINK, .ifa_index = 5};
    put_header(bytes, RTM_NEWADDR, sequence,
               sizeof(message) + RTA_SPACE(3) + (peer ? RTA_SPACE(length) : 0) +
                   (local ? RTA_SPACE(length) : 0));
    g_byte_array_append(bytes, (uint8_t *)&message, sizeof(message));
    put_attribute(bytes, IFA_LABEL, "lo", 3);
    if (peer) {
        put_attribute(bytes, IFA_ADDRESS, peer, length);
    }
    if (local) {
        put_attribute(bytes, IFA_LOCAL, local, length);
    }
}

static void test_addresses(void)
{
    static const uint8_t ours[16] = {10, 1, 2, 3, 7}, peer[16] = {10, 9, 9, 9, 8};
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    Told told;
    put_address(bytes, SEQUENCE, AF_INET, ours, peer);
    g_assert_cmpint(read_bytes(bytes, bytes->len, &told), ==, 0);
    g_assert_cmpuint(told.addresses, ==, 1);
    g_assert_cmpuint(told.last.family, ==, AF_INET);
    g_assert_cmpuint(told.last.ifindex, ==, 5);
    g_assert_cmpuint(told.last.prefix_length, ==, 24);
    g_assert_cmpuint(told.last.scope, ==, RT_SCOPE_LINK);
    g_assert_cmpmem(told.last.bytes, told.last.length, ours, 4);
    g_assert_cmpuint(told.last.bytes[4], ==, 0);

    put_address(bytes, SEQUENCE, AF_INET6, NULL, peer); /* no peer: IFA_ADDRESS is ours */
    put_header(bytes, NLMSG_DONE, SEQUENCE, 0);
    g_assert_cmpint(read_bytes(bytes, bytes->len, &told), ==, 0);
    g_assert_cmpuint(told.addresses, ==, 2);
    g_assert_cmpuint(told.done, ==, 1);
    g_assert_cmpuint(told.changed, ==, 0);
    g_assert_cmpmem(told.last.bytes, told.last.length, peer, 16);
}

static void test_events(void)
{
    static const uint8_t ours[4] = {10, 1, 2, 3};
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    Told told;
    put_address(bytes, SEQUENCE + 1, AF_INET, ours, NULL);
    put_header(bytes, NLMSG_DONE, SEQUENCE - 1, 0); /* of a dump that was given up */
    g_assert_cmpint(read_bytes(bytes, bytes->len, &told), ==, 0);
    g_assert_cmpuint(told.addresses, ==, 0);
    g_assert_cmpuint(told.changed, ==, 1);
    g_assert_cmpuint(told.done, ==, 0);
}

static void test_error(void)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    struct nlmsgerr error = {.error = -EPERM};
    Told told;
    put_header(bytes, NLMSG_ERROR, SEQUENCE, sizeof(error));
    g_byte_array_append(bytes, (uint8_t *)&error, sizeof(error));
    g_assert_cmpint(read_bytes(bytes, bytes->len, &told), ==, -EPERM);
}

/* Cut anywhere, the whole messages before the cut are told. */
static void test_torn(void)
{
    static const uint8_t ours[16] = {10, 1, 2, 3};
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    Told told;
    put_address(bytes, SEQUENCE, AF_INET, ours, ours);
    guint first = bytes->len;
    put_address(bytes, SEQUENCE, AF_INET6, NULL, ours);
    for (guint length = 0; length <= bytes->len; length++) {
        g_assert_cmpint(read_bytes(bytes, length, &told), ==, 0);
        g_assert_cmpuint(told.addresses, ==, (length >= first) + (length >= bytes->len));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/address-dump/addresses", test_addresses);
    g_test_add_func("/address-dump/events", test_events);
    g_test_add_func("/address-dump/error", test_error);
    g_test_add_func("/address-dump/torn", test_torn);
    return g_test_run();
}
