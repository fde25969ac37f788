// SPDX-License-Identifier: GPL-2.0-or-later
/* The block encoder against the builder of common/pcapng, and the pool of batches. */
#include <glib.h>
#include <string.h>

#include "common/pcapng/pcapng.h"
#include "node-capture/source/epb.h"
#include "node-capture/source/source.h"

static void build(uint8_t *out, size_t capacity, size_t *ret_length, const EpbPacket *packet,
                  const uint8_t *data, uint32_t captured_length, uint32_t original_length)
{
    PcapngBuilder builder;
    pcapng_builder_init(&builder, out, capacity);
    pcapng_build_packet(&builder, packet->interface_id, packet->time_ns, data, captured_length,
                        original_length);
    pcapng_build_option_u32(&builder, PCAPNG_EPB_FLAGS, packet->flags);
    int length = pcapng_build_end(&builder);
    g_assert_cmpint(length, >, 0);
    *ret_length = (size_t)length;
}

static void test_equals_builder(void)
{
    uint8_t data[200], ours[400], builders[400];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(255 - i);
    for (uint32_t captured = 0; captured <= sizeof data; captured++) {
        const EpbPacket packet = {
            .interface_id = 7,
            .time_ns = 1700000000123456789u,
            .captured_length = captured,
            .original_length = captured + 1000,
            .flags = PCAPNG_DIRECTION_OUTBOUND,
            .data = data,
        };
        memset(ours, 0xa5, sizeof ours); /* padding must be written, not found */
        uint32_t length = epb_write(ours, &packet);
        g_assert_cmpuint(length, <=, epb_room(captured));
        size_t expected;
        build(builders, sizeof builders, &expected, &packet, data, captured, captured + 1000);
        g_assert_cmpmem(ours, length, builders, expected);
    }
}

static void test_restores_vlan(void)
{
    uint8_t stripped[64], tagged[68], ours[200], builders[200];
    const uint8_t tag[] = {0x88, 0xa8, 0x60, 0x2a};
    for (size_t i = 0; i < sizeof stripped; i++)
        stripped[i] = (uint8_t)i;
    memcpy(tagged, stripped, 12);
    memcpy(tagged + 12, tag, sizeof tag);
    memcpy(tagged + 16, stripped + 12, sizeof stripped - 12);
    for (uint32_t captured = 12; captured <= sizeof stripped; captured++) {
        const EpbPacket packet = {
            .captured_length = captured,
            .original_length = sizeof stripped,
            .flags = PCAPNG_DIRECTION_INBOUND,
            .data = stripped,
            .has_vlan = true,
            .vlan_tpid = 0x88a8,
            .vlan_tci = 0x602a,
        };
        memset(ours, 0xa5, sizeof ours);
        uint32_t length = epb_write(ours, &packet);
        g_assert_cmpuint(length, <=, epb_room(captured));
        size_t expected;
        build(builders, sizeof builders, &expected, &packet, tagged, captured + 4, sizeof tagged);
        g_assert_cmpmem(ours, length, builders, expected);
    }
}

static void test_batch_sizes(void)
{
    const size_t wanted[] = {1, 4096, 4097, 100000, BATCH_BYTES, BATCH_BYTES + 1, 300000};
    for (size_t i = 0; i < G_N_ELEMENTS(wanted); i++) {
        Batch *batch = batch_new(wanted[i]);
        g_assert_cmpuint(batch->capacity, >=, wanted[i]);
        g_assert_cmpuint(batch->capacity, <=, MAX(4096u, 2 * wanted[i]));
        memset(batch->data, 0xff, batch->capacity); /* a sanitizer sees if that is too much */
        batch_unref(batch);
    }
    batch_unref(NULL);
}

static void test_batch_reused(void)
{
    Batch *first = batch_new(5000);
    first->count = 3;
    first->length = 4999;
    batch_ref(first);
    batch_unref(first);
    Batch *other = batch_new(5000); /* the first is still held */
    g_assert_true(other != first);
    batch_unref(first);
    Batch *again = batch_new(6000); /* the same size, as good as new */
    g_assert_true(again == first);
    g_assert_cmpuint(again->count, ==, 0);
    g_assert_cmpuint(again->length, ==, 0);
    g_assert_cmpint(again->refs, ==, 1);
    batch_unref(again);
    batch_unref(other);
}

static void *take_and_give(void *data)
{
    for (int i = 0; i < 20000; i++) {
        Batch *batches[3];
        for (int j = 0; j < 3; j++) {
            batches[j] = batch_new((size_t)4096 << j);
            g_assert_cmpint(batches[j]->refs, ==, 1);
            batches[j]->data[0] = (uint8_t)i;
        }
        for (int j = 0; j < 3; j++)
            batch_unref(batches[j]);
    }
    return NULL;
}

static void test_batch_threads(void)
{
    GThread *threads[4];
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("batches", take_and_give, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/source/epb/equals-builder", test_equals_builder);
    g_test_add_func("/source/epb/restores-vlan", test_restores_vlan);
    g_test_add_func("/source/batch/sizes", test_batch_sizes);
    g_test_add_func("/source/batch/reused", test_batch_reused);
    g_test_add_func("/source/batch/threads", test_batch_threads);
    return g_test_run();
}
