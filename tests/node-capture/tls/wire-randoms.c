// SPDX-License-Identifier: GPL-2.0-or-later
/* A hook whose randoms are never seen is found out; one whose connections cannot be seen is not. */
#include <glib.h>
#include <string.h>

#include "node-capture/tls/seen-randoms.h"
#include "node-capture/tls/wire-randoms.h"

#define SECOND 1000000000ull
#define START  (1000 * SECOND)

enum { NETNS = 7, OTHER = 8, HOOK = 3 };

/* One each second: number `i` as it is on the wire, or as a hook that reads another place has it.
 */
static uint64_t time_of(unsigned i)
{
    return START + i * SECOND;
}

static const uint8_t *random_of(unsigned i, bool is_wrong, uint8_t random[static 32])
{
    memset(random, is_wrong ? 0xee : 0x11, 32);
    memcpy(random + 8, &i, sizeof(i));
    return random;
}

static void saw(WireRandoms *randoms, uint64_t netns, unsigned i)
{
    uint8_t random[32];
    wire_randoms_saw(randoms, netns, time_of(i), random_of(i, false, random), false);
}

static void gave(WireRandoms *randoms, uint64_t netns, unsigned i, bool is_wrong)
{
    uint8_t random[32];
    for (unsigned line = 0; line < 5; line++) {
        wire_randoms_line(randoms, netns, time_of(i) + 1000, HOOK, random_of(i, is_wrong, random));
    }
}

/* How often it was told to take the hook out. */
static unsigned judge(WireRandoms *randoms, uint64_t now_ns)
{
    unsigned times = 0;
    uint64_t hook = 0;
    while (wire_randoms_judge(randoms, now_ns, &hook)) {
        g_assert_cmpuint(hook, ==, HOOK);
        times++;
    }
    return times;
}

#define LATER (START + 100 * SECOND)

static void test_right(void)
{
    WireRandoms *randoms = wire_randoms_new();
    uint64_t seen, with_secrets;
    for (unsigned i = 0; i < 20; i++) {
        saw(randoms, NETNS, i);
        if (i % 2) {
            gave(randoms, NETNS, i, false);
        }
    }
    g_assert_cmpuint(judge(randoms, LATER), ==, 0);
    wire_randoms_count(randoms, NETNS, &seen, &with_secrets);
    g_assert_cmpuint(seen, ==, 20);
    g_assert_cmpuint(with_secrets, ==, 10);
    wire_randoms_free(randoms);
}

static void test_wrong(void)
{
    WireRandoms *randoms = wire_randoms_new();
    for (unsigned i = 0; i < 8; i++) {
        saw(randoms, NETNS, i);
        gave(randoms, NETNS, i, true);
    }
    /* Not before the fifth has had its time. */
    g_assert_cmpuint(judge(randoms, time_of(4) + WIRE_RANDOMS_WAIT_NS - 1), ==, 0);
    g_assert_cmpuint(judge(randoms, time_of(4) + WIRE_RANDOMS_WAIT_NS + 1000), ==, 1);
    g_assert_cmpuint(judge(randoms, LATER), ==, 0);
    wire_randoms_free(randoms);
}

/* A line may come before its packet is looked at. */
static void test_late_packets(void)
{
    WireRandoms *randoms = wire_randoms_new();
    for (unsigned i = 0; i < 8; i++) {
        gave(randoms, NETNS, i, false);
    }
    g_assert_cmpuint(judge(randoms, time_of(9)), ==, 0);
    for (unsigned i = 0; i < 8; i++) {
        saw(randoms, NETNS, i);
    }
    g_assert_cmpuint(judge(randoms, LATER), ==, 0);
    wire_randoms_free(randoms);
}

static void test_one_hit_is_enough(void)
{
    WireRandoms *randoms = wire_randoms_new();
    saw(randoms, OTHER, 0);
    gave(randoms, OTHER, 0, false);
    for (unsigned i = 1; i < 20; i++) {
        saw(randoms, NETNS, i);
        gave(randoms, NETNS, i, true);
    }
    g_assert_cmpuint(judge(randoms, LATER), ==, 0);
    wire_randoms_free(randoms);
}

/* Of connections that are not captured nothing is seen at all, or only what others began. */
static void test_unseen(void)
{
    WireRandoms *randoms = wire_randoms_new();
    for (unsigned i = 0; i < 20; i++) {
        gave(randoms, NETNS, i, true);
        saw(randoms, OTHER, i);
    }
    for (unsigned i = 0; i < WIRE_RANDOMS_MISSES - 1; i++) {
        saw(randoms, NETNS, i);
    }
    g_assert_cmpuint(judge(randoms, LATER), ==, 0);
    wire_randoms_free(randoms);
}

static void test_others_long_before(void)
{
    WireRandoms *randoms = wire_randoms_new();
    for (unsigned i = 0; i < 10; i++) {
        saw(randoms, NETNS, i);
    }
    for (unsigned i = 20; i < 40; i++) {
        gave(randoms, NETNS, i, true);
    }
    g_assert_cmpuint(judge(randoms, START + 200 * SECOND), ==, 0);
    wire_randoms_free(randoms);
}

/* QUIC, DTLS, and what was lost. */
static void test_hidden(void)
{
    WireRandoms *randoms = wire_randoms_new();
    for (unsigned i = 0; i < 20; i++) {
        saw(randoms, NETNS, i);
        gave(randoms, NETNS, i, true);
    }
    wire_randoms_hidden(randoms, NETNS, time_of(3));
    g_assert_cmpuint(judge(randoms, LATER), ==, 0);
    wire_randoms_free(randoms);
}

static void test_forgotten(void)
{
    WireRandoms *randoms = wire_randoms_new();
    for (unsigned i = 0; i < 20; i++) {
        saw(randoms, NETNS, i);
        gave(randoms, NETNS, i, true);
    }
    wire_randoms_forget(randoms, NETNS);
    g_assert_cmpuint(judge(randoms, LATER), ==, 0);
    uint64_t seen, with_secrets;
    wire_randoms_count(randoms, NETNS, &seen, &with_secrets);
    g_assert_cmpuint(seen, ==, 0);
    wire_randoms_free(randoms);
}

/* Far more than are remembered: the sanitizers look at the memory. */
static void test_bounded(void)
{
    WireRandoms *randoms = wire_randoms_new();
    uint8_t random[32];
    for (unsigned i = 0; i < 3 * WIRE_RANDOMS_CONNECTIONS; i++) {
        wire_randoms_saw(randoms, i % 50, START + i, random_of(i, false, random), false);
        wire_randoms_line(randoms, i % 60, START + i, i % 100, random_of(i, i % 7, random));
    }
    judge(randoms, START);
    wire_randoms_free(randoms);
}

static void take_hello(const TlsSeenHello *hello, void *userdata)
{
    if (hello->netns_inode == NETNS && hello->has_random) {
        wire_randoms_saw(userdata, NETNS, hello->time_unix_ns, hello->random, false);
    } else if (hello->netns_inode == NETNS) {
        wire_randoms_hidden(userdata, NETNS, hello->time_unix_ns);
    }
}

static void see(SeenRandoms *seen, uint64_t netns, unsigned second, unsigned number)
{
    TlsSeenHello hello = {
        .netns_inode = netns, .time_unix_ns = time_of(second), .has_random = true};
    random_of(number, false, hello.random);
    seen_randoms_add(seen, &hello);
}

/* So many of one namespace at once; then in NETNS what a wrong hook gives. Returns how often it is
 * told to be taken out. */
static unsigned judge_behind_flood(uint64_t netns, unsigned length)
{
    WireRandoms *randoms = wire_randoms_new();
    SeenRandoms *seen = seen_randoms_new();
    uint64_t count, with_secrets;
    for (unsigned i = 0; i < length; i++) {
        see(seen, netns, 0, 1000 + i);
    }
    for (unsigned i = 0; i < 8; i++) {
        see(seen, NETNS, i, i);
        seen_randoms_take(seen, take_hello, randoms);
        gave(randoms, NETNS, i, true);
    }
    wire_randoms_count(randoms, NETNS, &count, &with_secrets);
    g_assert_cmpuint(count, ==, netns == NETNS ? MIN(length + 8, SEEN_RANDOMS_EACH + 7) : 8);
    wire_randoms_count(randoms, OTHER, &count, &with_secrets);
    g_assert_cmpuint(count, ==, 0);
    unsigned times = judge(randoms, LATER);
    seen_randoms_free(seen);
    wire_randoms_free(randoms);
    return times;
}

/* One namespace's flood takes a part of the room, and what it loses counts against nothing, there.
 */
static void test_on_the_way(void)
{
    g_assert_cmpuint(judge_behind_flood(NETNS, SEEN_RANDOMS_EACH - 1), ==, 1);
    g_assert_cmpuint(judge_behind_flood(NETNS, SEEN_RANDOMS_EACH), ==, 0);
    g_assert_cmpuint(judge_behind_flood(OTHER, SEEN_RANDOMS_MAX), ==, 1);
}

/* Encrypted ClientHellos: their randoms are others than the key log's, and nothing is wrong. */
static void test_outer(void)
{
    WireRandoms *randoms = wire_randoms_new();
    uint8_t random[32];
    for (unsigned i = 0; i < 20; i++) {
        wire_randoms_saw(randoms, NETNS, time_of(i), random_of(i, false, random), true);
        gave(randoms, NETNS, i, true);
    }
    g_assert_cmpuint(judge(randoms, LATER), ==, 0);
    wire_randoms_free(randoms);
}

/* Of the namespace, of that time, and nothing that may be chance. */
static void test_recent(void)
{
    WireRandoms *randoms = wire_randoms_new();
    uint8_t random[32], recent[4][32];
    saw(randoms, NETNS, 1);
    for (unsigned i = 2; i < 8; i++) {
        for (unsigned k = 0; k < 32; k++) {
            random[k] = (uint8_t)(i + 3 * k);
        }
        wire_randoms_saw(randoms, i == 7 ? OTHER : NETNS, time_of(i), random, false);
    }
    g_assert_cmpuint(wire_randoms_recent(randoms, NETNS, time_of(4), recent, 4), ==, 3);
    g_assert_cmpuint(recent[0][0], ==, 6);
    g_assert_cmpuint(recent[2][0], ==, 4);
    g_assert_cmpuint(wire_randoms_recent(randoms, NETNS, 0, recent, 4), ==, 4);
    g_assert_cmpuint(wire_randoms_recent(randoms, OTHER, 0, recent, 4), ==, 1);
    wire_randoms_free(randoms);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wire-randoms/right", test_right);
    g_test_add_func("/wire-randoms/wrong", test_wrong);
    g_test_add_func("/wire-randoms/late-packets", test_late_packets);
    g_test_add_func("/wire-randoms/one-hit-is-enough", test_one_hit_is_enough);
    g_test_add_func("/wire-randoms/unseen", test_unseen);
    g_test_add_func("/wire-randoms/others-long-before", test_others_long_before);
    g_test_add_func("/wire-randoms/hidden", test_hidden);
    g_test_add_func("/wire-randoms/forgotten", test_forgotten);
    g_test_add_func("/wire-randoms/bounded", test_bounded);
    g_test_add_func("/wire-randoms/on-the-way", test_on_the_way);
    g_test_add_func("/wire-randoms/outer", test_outer);
    g_test_add_func("/wire-randoms/recent", test_recent);
    return g_test_run();
}
