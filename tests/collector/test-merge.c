// SPDX-License-Identifier: GPL-2.0-or-later
#include <glib.h>
#include <string.h>

#include "collector/merge.h"
#include "fixture.h"

#define WAIT (1000 * MILLI)

static bool any_interface(uint32_t id, void *userdata)
{
    return id != 99;
}

/* One message: packets of these times, numbered from `number` on. */
static uint32_t push(Merge *merge, uint32_t stream, const uint64_t *times, size_t n,
                     uint32_t number, uint64_t now_ns)
{
    uint8_t memory[64 * 1024];
    PcapngBuilder builder;
    pcapng_builder_init(&builder, memory, sizeof memory);
    for (size_t i = 0; i < n; i++) {
        uint32_t data = number + (uint32_t)i;
        pcapng_build_packet(&builder, stream, times[i], &data, sizeof data, sizeof data);
        g_assert_cmpint(pcapng_build_end(&builder), >, 0);
    }
    int error;
    MergeBuffer *buffer = merge_buffer_new(memory, builder.length);
    uint32_t taken =
        merge_push(merge, stream, buffer, 0, builder.length, any_interface, NULL, now_ns, &error);
    g_assert_cmpint(error, ==, 0);
    return taken;
}

static uint32_t number_of(const MergePacket *packet)
{
    uint32_t number;
    memcpy(&number, packet->block + PCAPNG_EPB_FIXED, sizeof number);
    return number;
}

/* The packet's bytes are gone afterwards; its number stays. */
static bool pop_number(Merge *merge, MergePacket *ret, uint32_t *ret_number)
{
    if (!merge_pop(merge, ret))
        return false;
    *ret_number = number_of(ret);
    merge_buffer_unref(ret->buffer);
    return true;
}

static bool pop(Merge *merge, MergePacket *ret)
{
    uint32_t number;
    return pop_number(merge, ret, &number);
}

static void expect(Merge *merge, uint64_t time_ns)
{
    MergePacket packet;
    g_assert_true(pop(merge, &packet));
    g_assert_cmpuint(packet.time_ns, ==, time_ns);
}

static void expect_none(Merge *merge)
{
    MergePacket packet;
    g_assert_false(merge_pop(merge, &packet));
}

static void test_waits_for_watermarks(void)
{
    Merge *merge = merge_new(2, WAIT, 1 << 20);
    merge_open(merge, 0, 0);
    merge_open(merge, 1, 0);
    push(merge, 0, (uint64_t[]){10, 30, 20}, 3, 0, 0);
    merge_watermark(merge, 0, 30, 0);
    merge_advance(merge, 0);
    expect_none(merge); /* stream 1 may still bring anything */
    push(merge, 1, (uint64_t[]){15}, 1, 100, 0);
    merge_watermark(merge, 1, 25, 0);
    expect(merge, 10);
    expect(merge, 15);
    expect(merge, 20);
    expect_none(merge);
    merge_close(merge, 1);
    expect(merge, 30);
    g_assert_cmpuint(merge_held_bytes(merge), ==, 0);
    merge_free(merge);
}

static void test_stall(void)
{
    Merge *merge = merge_new(2, WAIT, 1 << 20);
    merge_open(merge, 0, 0);
    merge_open(merge, 1, 0);
    push(merge, 0, (uint64_t[]){10}, 1, 0, WAIT / 2);
    merge_watermark(merge, 0, 10, WAIT / 2);
    g_assert_false(merge_advance(merge, WAIT));
    g_assert_false(merge_stalled(merge, 1));
    expect_none(merge);
    g_assert_true(merge_advance(merge, WAIT + 1));
    g_assert_true(merge_stalled(merge, 1));
    g_assert_cmpuint(merge_stalls(merge, 1), ==, 1);
    g_assert_false(merge_advance(merge, WAIT + 1));
    g_assert_false(merge_stalled(merge, 0));
    expect(merge, 10);

    /* It speaks: what it brings is late, and it counts again. */
    push(merge, 1, (uint64_t[]){5}, 1, 100, WAIT + 2);
    merge_watermark(merge, 1, 6, WAIT + 2);
    MergePacket packet;
    g_assert_true(pop(merge, &packet));
    g_assert_true(packet.late);
    g_assert_false(merge_stalled(merge, 1));
    push(merge, 0, (uint64_t[]){11}, 1, 1, WAIT + 3);
    merge_watermark(merge, 0, 11, WAIT + 3);
    expect_none(merge);
    merge_free(merge);
}

static void test_bounded_wait_with_wrong_clock(void)
{
    Merge *merge = merge_new(2, WAIT, 1 << 20);
    merge_open(merge, 0, 0);
    merge_open(merge, 1, 0);
    push(merge, 0, (uint64_t[]){3600 * SECOND}, 1, 0, 0); /* an hour ahead */
    merge_watermark(merge, 0, 3600 * SECOND, 0);
    MergePacket packet;
    for (uint64_t now = 0; now < WAIT; now += WAIT / 10) {
        merge_watermark(merge, 1, now + 1, now);
        merge_advance(merge, now);
        expect_none(merge);
    }
    merge_watermark(merge, 1, WAIT + 1, WAIT);
    merge_advance(merge, WAIT);
    g_assert_true(pop(merge, &packet));
    g_assert_true(packet.forced);
    g_assert_false(packet.late);
    merge_free(merge);
}

static void test_equal_times_keep_order(void)
{
    Merge *merge = merge_new(1, WAIT, 1 << 20);
    merge_open(merge, 0, 0);
    push(merge, 0, (uint64_t[]){7, 7, 5, 7}, 4, 0, 0);
    push(merge, 0, (uint64_t[]){7, 7}, 2, 4, 0);
    merge_watermark(merge, 0, 7, 0);
    const uint32_t expected[] = {2, 0, 1, 3, 4, 5};
    MergePacket packet;
    for (size_t i = 0; i < G_N_ELEMENTS(expected); i++) {
        uint32_t number;
        g_assert_true(pop_number(merge, &packet, &number));
        g_assert_cmpuint(number, ==, expected[i]);
    }
    merge_free(merge);
}

static void test_bad_blocks(void)
{
    uint8_t memory[1024];
    PcapngBuilder builder;
    pcapng_builder_init(&builder, memory, sizeof memory);
    for (uint32_t i = 0; i < 3; i++) {
        pcapng_build_packet(&builder, i == 2 ? 99 : 0, 10 + i, "abcd", 4, 4);
        pcapng_build_end(&builder);
    }
    Merge *merge = merge_new(1, WAIT, 1 << 20);
    int error;
    MergeBuffer *buffer = merge_buffer_new(memory, builder.length);
    g_assert_cmpuint(
        merge_push(merge, 0, buffer, 0, builder.length, any_interface, NULL, 0, &error), ==, 2);
    g_assert_cmpint(error, ==, -ENOENT);
    buffer = merge_buffer_new(memory, builder.length - 4);
    g_assert_cmpuint(
        merge_push(merge, 0, buffer, 0, builder.length - 4, any_interface, NULL, 0, &error), ==, 2);
    g_assert_cmpint(error, ==, -EBADMSG);
    buffer = merge_buffer_new("garbage!", 8);
    g_assert_cmpuint(merge_push(merge, 0, buffer, 0, 8, any_interface, NULL, 0, &error), ==, 0);
    g_assert_cmpint(error, ==, -EBADMSG);
    g_assert_cmpuint(merge_held_packets(merge), ==, 4);
    merge_free(merge);
}

static void test_flow_control(void)
{
    enum { LIMIT = 4096 };
    Merge *merge = merge_new(2, WAIT, LIMIT);
    merge_open(merge, 0, 0);
    merge_open(merge, 1, 0);
    uint64_t time = 1;
    while (merge_wants(merge, 0)) {
        push(merge, 0, &time, 1, 0, 0);
        merge_watermark(merge, 0, time++, 0);
        g_assert_cmpuint(merge_held_bytes(merge), <=, LIMIT);
    }
    g_assert_cmpuint(merge_held_bytes(merge), >, LIMIT / 2);
    g_assert_true(merge_wants(merge, 1)); /* it holds the others back */

    /* And it may go on, whatever it has in store, as long as it does. */
    for (uint64_t i = 0; i < 200; i++) {
        uint64_t ahead = 1000 + i;
        push(merge, 1, &ahead, 1, 0, 0);
        g_assert_true(merge_wants(merge, 1));
    }
    g_assert_true(merge_over_limit(merge));
    MergePacket packet;
    while (merge_over_limit(merge)) {
        g_assert_true(merge_pop_forced(merge, &packet));
        g_assert_true(packet.forced);
        merge_buffer_unref(packet.buffer);
    }
    merge_watermark(merge, 1, 2000, 0);
    g_assert_false(merge_wants(merge, 1) && merge_held_bytes(merge) > LIMIT);
    while (pop(merge, &packet)) {
    }
    g_assert_true(merge_wants(merge, 0));
    merge_free(merge);
}

/* ---- Streams that come and go ----------------------------------------------------------------*/

/* One that joins has the others wait, for as long as any silent one does and no longer. */
static void test_join(void)
{
    Merge *merge = merge_new(1, WAIT, 1 << 20);
    merge_open(merge, 0, 0);
    push(merge, 0, (uint64_t[]){10, 20}, 2, 0, 0);
    merge_watermark(merge, 0, 20, 0);
    merge_advance(merge, 0);
    expect(merge, 10);
    expect(merge, 20);

    uint32_t joined = merge_add(merge);
    g_assert_cmpuint(joined, ==, 1);
    push(merge, 0, (uint64_t[]){30}, 1, 2, 0);
    merge_watermark(merge, 0, 30, 0);
    expect(merge, 30); /* only its opening counts */
    merge_open(merge, joined, 5);
    push(merge, 0, (uint64_t[]){40}, 1, 3, 5);
    merge_watermark(merge, 0, 40, 5);
    merge_advance(merge, 5);
    expect_none(merge);
    g_assert_cmpuint(merge_frontier(merge), ==, 0);

    /* What it brings from before is late, and told so; what it brings from now on is in its turn.
     */
    push(merge, joined, (uint64_t[]){25, 35, 45}, 3, 100, 6);
    merge_watermark(merge, joined, 38, 6);
    MergePacket packet;
    g_assert_true(pop(merge, &packet));
    g_assert_cmpuint(packet.time_ns, ==, 25);
    g_assert_true(packet.late);
    g_assert_cmpuint(packet.stream, ==, joined);
    g_assert_true(pop(merge, &packet));
    g_assert_cmpuint(packet.time_ns, ==, 35);
    g_assert_false(packet.late);
    expect_none(merge);

    /* And silent as it then is, it does not hold them back any longer than others may. */
    merge_watermark(merge, 0, 45, 6 + WAIT);
    merge_advance(merge, 4 + WAIT);
    expect_none(merge);
    merge_advance(merge, 7 + WAIT);
    expect(merge, 40);
    expect(merge, 45);
    g_assert_cmpuint(merge_held_packets(merge), ==, 0);
    merge_free(merge);
}

static void test_leave(void)
{
    Merge *merge = merge_new(2, WAIT, 1 << 20);
    merge_open(merge, 0, 0);
    merge_open(merge, 1, 0);
    push(merge, 0, (uint64_t[]){10, 30}, 2, 0, 0);
    push(merge, 1, (uint64_t[]){20, 40}, 2, 100, 0);
    merge_watermark(merge, 0, 30, 0);
    merge_advance(merge, 0);
    expect_none(merge);
    merge_remove(merge, 1); /* it promised nothing, and need not any more */
    expect(merge, 10);
    MergePacket packet, held;
    g_assert_true(merge_pop(merge, &held)); /* not given back as yet */
    g_assert_cmpuint(held.time_ns, ==, 20);
    g_assert_cmpuint(held.stream, ==, 1);
    expect(merge, 30);
    expect_none(merge);

    /* Its number is not another's while something of it is still there: in the heap, or out. */
    g_assert_cmpuint(merge_add(merge), ==, 2);
    merge_watermark(merge, 0, 40, 0);
    g_assert_true(merge_pop(merge, &packet));
    g_assert_cmpuint(packet.time_ns, ==, 40);
    g_assert_cmpuint(packet.stream, ==, 1);
    merge_buffer_unref(packet.buffer);
    g_assert_cmpuint(merge_add(merge), ==, 3);
    merge_buffer_unref(held.buffer);
    g_assert_cmpuint(merge_add(merge), ==, 1);
    g_assert_cmpuint(merge_held_bytes(merge), ==, 0);

    /* Nothing of the one that had the number before is left in it. */
    merge_open(merge, 1, 0);
    push(merge, 1, (uint64_t[]){50}, 1, 200, 0);
    merge_watermark(merge, 0, 60, 0);
    expect_none(merge);
    merge_watermark(merge, 1, 50, 0);
    expect(merge, 50);
    merge_free(merge);
}

/* The room is that of the streams there are. */
static void test_shares(void)
{
    enum { LIMIT = 8192 };
    Merge *merge = merge_new(0, WAIT, LIMIT);
    g_assert_cmpuint(merge_frontier(merge), ==, UINT64_MAX);
    uint32_t first = merge_add(merge);
    merge_open(merge, first, 0);
    for (uint32_t i = 0; i < 3; i++)
        merge_add(merge);
    uint32_t silent = merge_add(merge);
    merge_open(merge, silent, 0);
    uint64_t time = 1;
    while (merge_wants(merge, first)) {
        push(merge, first, &time, 1, 0, 0);
        merge_watermark(merge, first, time++, 0);
    }
    g_assert_cmpuint(merge_held_bytes(merge), >, LIMIT / 5);
    g_assert_cmpuint(merge_held_bytes(merge), <, LIMIT / 4);
    for (uint32_t i = 1; i < 4; i++)
        merge_remove(merge, i);
    g_assert_true(merge_wants(merge, first));
    merge_free(merge);
}

/* ---- Any streams -----------------------------------------------------------------------------*/

enum { STREAMS = 7, PER_STREAM = 400 };

typedef struct Feed {
    uint64_t time_ns, promised_ns;
    uint32_t sent;
    bool open;
} Feed;

static uint64_t pass(GRand *random, Merge *merge, uint64_t now_ns, uint64_t *newest, uint8_t *seen)
{
    MergePacket packet;
    uint64_t late = 0;
    merge_advance(merge, now_ns);
    uint32_t number;
    while (pop_number(merge, &packet, &number)) {
        g_assert_cmpint(packet.late, ==, packet.time_ns < *newest);
        g_assert_true(packet.forced || packet.time_ns <= merge_frontier(merge));
        late += packet.late;
        *newest = MAX(*newest, packet.time_ns);
        seen[number]++;
    }
    return late;
}

static void feed(GRand *random, Merge *merge, Feed *feed, uint32_t index, uint32_t stream,
                 uint64_t now_ns, bool breaks_promises)
{
    uint64_t times[16];
    size_t n = (size_t)g_rand_int_range(random, 1, 16);
    n = MIN(n, PER_STREAM - feed->sent);
    for (size_t i = 0; i < n; i++) {
        feed->time_ns += (uint64_t)g_rand_int_range(random, 0, 5) * MILLI;
        uint64_t back = (uint64_t)g_rand_int_range(random, 0, breaks_promises ? 500 : 20) * MILLI;
        times[i] =
            MAX(feed->time_ns - MIN(back, feed->time_ns), breaks_promises ? 0 : feed->promised_ns);
    }
    push(merge, stream, times, n, index * PER_STREAM + feed->sent, now_ns);
    feed->sent += (uint32_t)n;
    if (g_rand_int_range(random, 0, 3)) {
        feed->promised_ns = MAX(feed->promised_ns, feed->time_ns - MIN(feed->time_ns, 20 * MILLI));
        merge_watermark(merge, stream, feed->promised_ns, now_ns);
    }
}

/* Nothing is lost or doubled; without stalls and broken promises nothing is late either. */
static void run_any(uint32_t seed, bool stalls, bool breaks_promises, bool comes_and_goes)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);
    Merge *merge = merge_new(0, WAIT, 1 << 24);
    Feed feeds[STREAMS] = {0};
    uint8_t seen[STREAMS * PER_STREAM] = {0};
    uint64_t now = 0, newest = 0, late = 0;
    uint32_t ids[STREAMS];
    for (uint32_t i = 0; i < STREAMS; i++) {
        ids[i] = merge_add(merge);
        merge_open(merge, ids[i], now);
        feeds[i].open = true;
    }
    for (bool more = true; more;) {
        more = false;
        for (uint32_t i = 0; i < STREAMS; i++) {
            if (feeds[i].sent < PER_STREAM) {
                more = true;
                if (!stalls || g_rand_int_range(random, 0, 10) >= (gint)i)
                    feed(random, merge, &feeds[i], i, ids[i], now, breaks_promises);
            } else if (feeds[i].open) {
                merge_remove(merge, ids[i]);
                feeds[i].open = false;
            }
            if (comes_and_goes && feeds[i].open && !g_rand_int_range(random, 0, 40)) {
                merge_remove(merge, ids[i]); /* and another in its place, with its promises */
                ids[i] = merge_add(merge);
                merge_open(merge, ids[i], now);
                merge_watermark(merge, ids[i], feeds[i].promised_ns, now);
            }
        }
        now += stalls ? WAIT / 3 : MILLI / 10;
        late += pass(random, merge, now, &newest, seen);
    }
    for (uint32_t i = 0; i < STREAMS; i++)
        g_assert_false(feeds[i].open);
    late += pass(random, merge, now, &newest, seen);
    for (size_t i = 0; i < G_N_ELEMENTS(seen); i++)
        g_assert_cmpuint(seen[i], ==, 1);
    if (!stalls && !breaks_promises)
        g_assert_cmpuint(late, ==, 0);
    if (breaks_promises)
        g_assert_cmpuint(late, >, 0);
    g_assert_cmpuint(merge_held_bytes(merge), ==, 0);
    g_assert_cmpuint(merge_held_packets(merge), ==, 0);
    merge_free(merge);
}

static void test_any(void)
{
    for (uint32_t seed = 0; seed < 100; seed++) {
        for (unsigned kind = 0; kind < 8; kind++)
            run_any(seed, kind & 1, kind & 2, kind & 4);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/merge/waits-for-watermarks", test_waits_for_watermarks);
    g_test_add_func("/merge/stall", test_stall);
    g_test_add_func("/merge/wrong-clock", test_bounded_wait_with_wrong_clock);
    g_test_add_func("/merge/equal-times", test_equal_times_keep_order);
    g_test_add_func("/merge/bad-blocks", test_bad_blocks);
    g_test_add_func("/merge/flow-control", test_flow_control);
    g_test_add_func("/merge/join", test_join);
    g_test_add_func("/merge/leave", test_leave);
    g_test_add_func("/merge/shares", test_shares);
    g_test_add_func("/merge/any-streams", test_any);
    return g_test_run();
}
