// SPDX-License-Identifier: GPL-2.0-or-later
/* Under load: rings grow without a packet lost or told twice, and what is lost is told. */
#include <glib.h>
#include <unistd.h>

#include "common/clock.h"
#include "tests/node-capture/source/capture-log.h"
#include "tests/node-capture/source/netns.h"
#include "tests/node-capture/source/sender.h"

#define TARGET 1u
/* A budget of which the first ring is the smallest (512 kB), with room for a larger one. */
#define SMALL_BUDGET (8u << 20)
/* In that ring; 128 kB blocks hold some 80 of them. */
#define FRAME 1400u

typedef struct Fixture {
    int pod;
    CaptureLog log;
    Sender sender;
} Fixture;

static void set_up(Fixture *fixture, gconstpointer budget)
{
    fixture->pod = netns_new();
    netns_veth(fixture->pod, "veth0", "eth0");
    capture_log_open(&fixture->log, GPOINTER_TO_SIZE(budget));
    fixture->log.count_only = true;
    capture_log_add(&fixture->log, TARGET, fixture->pod);
    sender_open(&fixture->sender, "veth0", FRAME);
}

static void tear_down(Fixture *fixture, gconstpointer budget)
{
    sender_close(&fixture->sender);
    capture_log_close(&fixture->log);
    close(fixture->pod);
}

static uint64_t ring_bytes(const Fixture *fixture)
{
    SourceTargetStats stats;
    fixture->log.source->ops->stats(fixture->log.source, TARGET, &stats);
    return stats.ring_bytes;
}

static void run_until_sent(Fixture *fixture)
{
    while (sender_is_running(&fixture->sender))
        g_assert_cmpint(fixture->log.source->ops->run(fixture->log.source, 1), ==, 0);
    sender_join(&fixture->sender);
    capture_log_settle(&fixture->log);
}

/* Three of four blocks full: reason to grow, and nothing lost yet. Frames go on coming throughout
 * the switch. */
static void test_grows_without_loss(Fixture *fixture, gconstpointer budget)
{
    uint64_t first = ring_bytes(fixture);
    g_assert_cmpuint(first, ==, 512u << 10);
    sender_send(&fixture->sender, 270);
    sender_start(&fixture->sender, 5000, 10000);
    run_until_sent(fixture);
    g_assert_cmpuint(ring_bytes(fixture), ==, 4 * first);
    g_assert_cmpuint(fixture->log.lost, ==, 0);
    g_assert_cmpuint(fixture->log.duplicates, ==, 0);
    g_assert_cmpuint(capture_log_count(&fixture->log), ==, fixture->sender.sent);
    g_assert_cmpuint(fixture->log.interfaces->len, ==, 1); /* the same device as before */
}

/* As fast as the sender can, from an overflowing ring into a larger one. */
static void test_grows_under_overload(Fixture *fixture, gconstpointer budget)
{
    uint64_t first = ring_bytes(fixture);
    sender_start(&fixture->sender, 200000, 0);
    /* run() first sees an overflow. */
    while (sender_sent(&fixture->sender) < 2000)
        g_thread_yield();
    run_until_sent(fixture);
    g_assert_cmpuint(ring_bytes(fixture), >, first);
    g_assert_cmpuint(fixture->log.duplicates, ==, 0);
    g_assert_cmpuint(fixture->log.lost, >, 0);
    g_assert_cmpuint(capture_log_count(&fixture->log) + fixture->log.lost, ==,
                     fixture->sender.sent);
}

static void test_starved(Fixture *fixture, gconstpointer budget)
{
    uint64_t before_ns = clock_unix_ns();
    sender_send(&fixture->sender, 20000);
    uint64_t after_ns = clock_unix_ns();
    capture_log_settle(&fixture->log);
    g_assert_cmpuint(fixture->log.lost, >, 0);
    g_assert_cmpuint(capture_log_count(&fixture->log) + fixture->log.lost, ==,
                     fixture->sender.sent);
    g_assert_cmpuint(fixture->log.last_lost_from_ns, <=, before_ns);
    g_assert_cmpuint(fixture->log.last_lost_to_ns, >=, after_ns);
    SourceTargetStats stats;
    fixture->log.source->ops->stats(fixture->log.source, TARGET, &stats);
    g_assert_cmpuint(stats.lost, ==, fixture->log.lost);
    g_assert_cmpuint(stats.packets, ==, capture_log_count(&fixture->log));
}

/* No budget for a larger ring: it stays as it is, and still all is told. */
static void test_cannot_grow(Fixture *fixture, gconstpointer budget)
{
    uint64_t first = ring_bytes(fixture);
    for (int i = 0; i < 10; i++) {
        sender_send(&fixture->sender, 1000);
        capture_log_settle(&fixture->log);
    }
    g_assert_cmpuint(ring_bytes(fixture), ==, first);
    g_assert_cmpuint(fixture->log.lost, >, 0);
    g_assert_cmpuint(capture_log_count(&fixture->log) + fixture->log.lost, ==,
                     fixture->sender.sent);
}

/* All that was sent has been handed out, and nothing comes any more. */
static void check_removed(Fixture *fixture)
{
    SourceTargetStats stats;
    fixture->log.source->ops->remove(fixture->log.source, TARGET, &stats);
    uint64_t sent = fixture->sender.sent;
    g_assert_cmpuint(capture_log_count(&fixture->log), ==, sent);
    g_assert_cmpuint(fixture->log.duplicates, ==, 0);
    g_assert_cmpuint(fixture->log.lost, ==, 0);
    g_assert_cmpuint(stats.packets, ==, sent);
    g_assert_cmpuint(stats.lost, ==, 0);
    g_assert_cmpuint(stats.ring_bytes, ==, 0);
    sender_send(&fixture->sender, 100);
    capture_log_settle(&fixture->log);
    g_assert_cmpuint(capture_log_count(&fixture->log), ==, sent);
}

/* What was sent a moment before is in a block that is not full. */
static void test_removed_with_packets(Fixture *fixture, gconstpointer budget)
{
    sender_send(&fixture->sender, 100);
    check_removed(fixture);
}

/* After whole rounds, where blocks have been used before. */
static void test_removed_after_rounds(Fixture *fixture, gconstpointer budget)
{
    for (int i = 0; i < 20; i++) {
        sender_send(&fixture->sender, 100);
        capture_log_settle(&fixture->log);
    }
    check_removed(fixture);
}

static void test_removed_full(Fixture *fixture, gconstpointer budget)
{
    uint64_t sent;
    do { /* all blocks are full and one frame more has come */
        sent = fixture->sender.sent;
        sender_send(&fixture->sender, 1);
    } while (sent < 2000);
    SourceTargetStats stats;
    fixture->log.source->ops->remove(fixture->log.source, TARGET, &stats);
    g_assert_cmpuint(stats.lost, >, 0);
    g_assert_cmpuint(stats.packets + stats.lost, ==, fixture->sender.sent);
    g_assert_cmpuint(capture_log_count(&fixture->log), ==, stats.packets);
    g_assert_cmpuint(fixture->log.duplicates, ==, 0);
}

/* A larger ring is being opened, or, some time later, has just taken over. */
static void remove_while_growing(Fixture *fixture, unsigned rounds)
{
    uint64_t first = ring_bytes(fixture);
    sender_send(&fixture->sender, 270);
    while (ring_bytes(fixture) == first)
        g_assert_cmpint(fixture->log.source->ops->run(fixture->log.source, 1), ==, 0);
    for (unsigned i = 0; i < rounds; i++)
        g_assert_cmpint(fixture->log.source->ops->run(fixture->log.source, 1), ==, 0);
    sender_send(&fixture->sender, 30);
    check_removed(fixture);
}

static void test_removed_while_opening(Fixture *fixture, gconstpointer budget)
{
    remove_while_growing(fixture, 0);
}

static void test_removed_with_old_ring(Fixture *fixture, gconstpointer budget)
{
    remove_while_growing(fixture, 40);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (!netns_enter_own())
        return 77;
    const void *small = GSIZE_TO_POINTER(SMALL_BUDGET);
    const void *one = GSIZE_TO_POINTER(512u << 10);
#define ADD(name, budget, function) \
    g_test_add("/source/afpacket/" name, Fixture, budget, set_up, function, tear_down)
    ADD("grows-without-loss", small, test_grows_without_loss);
    ADD("grows-under-overload", small, test_grows_under_overload);
    ADD("starved", small, test_starved);
    ADD("cannot-grow", one, test_cannot_grow);
    ADD("removed-with-packets", small, test_removed_with_packets);
    ADD("removed-after-rounds", small, test_removed_after_rounds);
    ADD("removed-full", one, test_removed_full);
    ADD("removed-while-opening", small, test_removed_while_opening);
    ADD("removed-with-old-ring", small, test_removed_with_old_ring);
    return g_test_run();
}
