// SPDX-License-Identifier: GPL-2.0-or-later
#include <glib.h>
#include <string.h>

#include "common/seeded-hash.h"

/* How many different hashes 65536 keys have. By chance half a pair of them shares one: 65536^2 / 2
 * / 2^32; of a sound hash more than 20 pairs are not to be seen in a lifetime. */
enum { KEYS = 65536, DIFFERENT_MIN = KEYS - 20 };

typedef size_t (*MakeKey)(uint32_t i, uint8_t out[1100]);

static guint count_different(MakeKey make)
{
    g_autoptr(GHashTable) hashes = g_hash_table_new(NULL, NULL);
    for (uint32_t i = 0; i < KEYS; i++) {
        uint8_t key[1100];
        size_t length = make(i, key);
        g_hash_table_add(hashes, GUINT_TO_POINTER(seeded_hash(key, length)));
    }
    return g_hash_table_size(hashes);
}

/* "ab" and "bA" have the same g_str_hash, and so have all strings of such pairs. */
static size_t colliding_text(uint32_t i, uint8_t out[1100])
{
    for (unsigned bit = 0; bit < 16; bit++)
        memcpy(out + 2 * bit, i >> bit & 1 ? "ab" : "bA", 2);
    return 32;
}

static size_t word(uint32_t i, uint8_t out[1100])
{
    memcpy(out, &i, sizeof i);
    return sizeof i;
}

/* The difference stands in the first of several blocks. */
static size_t start_of_a_long_key(uint32_t i, uint8_t out[1100])
{
    memset(out, 'x', 1100);
    memcpy(out, &i, sizeof i);
    return 1099;
}

static size_t end_of_a_long_key(uint32_t i, uint8_t out[1100])
{
    memset(out, 'x', 1100);
    memcpy(out + 1096, &i, 3);
    return 1099;
}

static void test_few_collisions(void)
{
    g_assert_cmpuint(count_different(colliding_text), >=, DIFFERENT_MIN);
    g_assert_cmpuint(count_different(word), >=, DIFFERENT_MIN);
    g_assert_cmpuint(count_different(start_of_a_long_key), >=, DIFFERENT_MIN);
    g_assert_cmpuint(count_different(end_of_a_long_key), >=, DIFFERENT_MIN);
}

/* Zeros behind a key make it another one. */
static void test_length_counts(void)
{
    static const uint8_t zeros[600];
    g_autoptr(GHashTable) hashes = g_hash_table_new(NULL, NULL);
    for (size_t length = 0; length <= sizeof zeros; length++)
        g_hash_table_add(hashes, GUINT_TO_POINTER(seeded_hash(zeros, length)));
    g_assert_cmpuint(g_hash_table_size(hashes), >=, sizeof zeros - 1);
}

/* Of equal keys, wherever they stand. */
static void test_equal_keys(void)
{
    char text[64] = " a node's name";
    memmove(text + 32, text + 1, strlen(text)); /* and aligned otherwise */
    g_assert_cmpuint(seeded_str_hash(text + 1), ==, seeded_str_hash(text + 32));
    g_assert_cmpuint(seeded_str_hash("ab"), ==, seeded_hash("ab", 2));
}

/* Another process has other hashes: who learns them here knows nothing of there. */
static void test_seeds_are_the_process_own(void)
{
    if (g_test_subprocess()) {
        g_print("%08x", seeded_str_hash("node"));
        return;
    }
    g_test_trap_subprocess(NULL, 0, G_TEST_SUBPROCESS_DEFAULT);
    g_test_trap_assert_passed();
    g_autofree char *ours = g_strdup_printf("*%08x*", seeded_str_hash("node"));
    g_test_trap_assert_stdout_unmatched(ours);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/seeded-hash/few-collisions", test_few_collisions);
    g_test_add_func("/seeded-hash/length-counts", test_length_counts);
    g_test_add_func("/seeded-hash/equal-keys", test_equal_keys);
    g_test_add_func("/seeded-hash/seeds-are-the-process-own", test_seeds_are_the_process_own);
    return g_test_run();
}
