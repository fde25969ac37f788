// SPDX-License-Identifier: GPL-2.0-or-later
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>

#include "collector/collector.h"

/* Files are written as strings, a letter a block: a section in either byte order, an interface, a
 * packet, secrets of TLS and of something else, names, statistics, something unknown. No two blocks
 * of a file are the same. */
#define LITTLE     'S'
#define BIG        'B'
#define INTERFACE  'I'
#define PACKET     'P'
#define TLS        'D'
#define OTHER      'W'
#define NAMES      'N'
#define STATISTICS 'T'
#define UNKNOWN    'U'

typedef struct Files {
    char *folder, *in, *out;
} Files;

static void setup(Files *files, gconstpointer data)
{
    files->folder = g_dir_make_tmp("remora-XXXXXX", NULL);
    files->in = g_build_filename(files->folder, "in", NULL);
    files->out = g_build_filename(files->folder, "out", NULL);
}

static void teardown(Files *files, gconstpointer data)
{
    g_unlink(files->in);
    g_unlink(files->out);
    g_assert_cmpint(g_rmdir(files->folder), ==, 0);
    g_free(files->folder);
    g_free(files->in);
    g_free(files->out);
}

/* ---- Files to read, and what is to come of them ----------------------------------------------*/

static void put16(GByteArray *out, uint16_t value, bool big)
{
    value = big ? GUINT16_TO_BE(value) : GUINT16_TO_LE(value);
    g_byte_array_append(out, (const uint8_t *)&value, 2);
}

static void put32(GByteArray *out, uint32_t value, bool big)
{
    value = big ? GUINT32_TO_BE(value) : GUINT32_TO_LE(value);
    g_byte_array_append(out, (const uint8_t *)&value, 4);
}

static void put_filler(GByteArray *out, uint8_t value, uint32_t length)
{
    for (uint32_t i = 0; i < (length + 3) / 4 * 4; i++)
        g_byte_array_append(out, i < length ? &value : (const uint8_t *)"", 1);
}

static void put_comment(GByteArray *out, uint8_t number, bool big)
{
    put16(out, 1, big);
    put16(out, 3, big);
    put_filler(out, number, 3);
    put32(out, 0, big);
}

static void put_body(GByteArray *out, char letter, uint8_t number, uint32_t length, bool big)
{
    switch (letter) {
    case LITTLE:
    case BIG:
        put32(out, 0x1a2b3c4d, big);
        put32(out, big ? 0x00010000 : 1, big);
        put32(out, 0x01234567, big); /* a length that is certainly wrong, and stays as it is */
        put32(out, number, big);
        break;
    case INTERFACE:
        put32(out, big ? 0x00010000 : 1, big);
        put32(out, 65535, big);
        put_comment(out, number, big);
        break;
    case PACKET:
        for (int i = 0; i < 3; i++)
            put32(out, 0, big);
        put32(out, length, big);
        put32(out, length, big);
        put_filler(out, number, length);
        put_comment(out, number, big);
        break;
    case TLS:
    case OTHER:
        put32(out, letter == TLS ? 0x544c534b : 0x57474b4c, big);
        put32(out, length, big);
        put_filler(out, number, length);
        put_comment(out, number, big);
        break;
    case STATISTICS:
        for (int i = 0; i < 3; i++)
            put32(out, 0, big);
        put_comment(out, number, big);
        break;
    default:
        put_filler(out, number, length);
    }
}

static GBytes *make_block(char letter, uint8_t number, uint32_t length, bool big)
{
    static const struct {
        char letter;
        uint32_t type;
    } types[] = {{LITTLE, 0x0a0d0d0a}, {BIG, 0x0a0d0d0a}, {INTERFACE, 1},
                 {PACKET, 6},          {TLS, 10},         {OTHER, 10},
                 {NAMES, 4},           {STATISTICS, 5},   {UNKNOWN, 0x4321}};
    size_t i = 0;
    while (types[i].letter != letter)
        i++;
    g_autoptr(GByteArray) body = g_byte_array_new();
    put_body(body, letter, number, length, big);
    GByteArray *out = g_byte_array_new();
    put32(out, types[i].type, big);
    put32(out, 12 + body->len, big);
    g_byte_array_append(out, body->data, body->len);
    put32(out, 12 + body->len, big);
    return g_byte_array_free_to_bytes(out);
}

/* Packets and secrets have `scale` bytes and some more. */
static GPtrArray *make_blocks(const char *letters, uint32_t scale)
{
    GPtrArray *blocks = g_ptr_array_new_with_free_func((GDestroyNotify)g_bytes_unref);
    bool big = false;
    for (size_t i = 0; letters[i]; i++) {
        if (letters[i] == LITTLE || letters[i] == BIG)
            big = letters[i] == BIG;
        g_ptr_array_add(blocks, make_block(letters[i], (uint8_t)i, scale + (uint32_t)i % 7, big));
    }
    return blocks;
}

static void append(GByteArray *out, GPtrArray *blocks, size_t index)
{
    gsize length;
    const uint8_t *data = g_bytes_get_data(blocks->pdata[index], &length);
    g_byte_array_append(out, data, (guint)length);
}

static GByteArray *concatenate(GPtrArray *blocks)
{
    GByteArray *out = g_byte_array_new();
    for (size_t i = 0; i < blocks->len; i++)
        append(out, blocks, i);
    return out;
}

static bool is_secret(char letter)
{
    return letter == TLS || letter == OTHER;
}

/* What the first `n` blocks are to become. */
static GByteArray *arrange(GPtrArray *blocks, const char *letters, size_t n)
{
    GByteArray *out = g_byte_array_new();
    for (size_t begin = 0; begin < n;) {
        size_t end = begin + 1;
        while (end < n && letters[end] != LITTLE && letters[end] != BIG)
            end++;
        size_t head = begin + 1; /* up to the first block that is neither interface nor secret */
        while (head < end && (letters[head] == INTERFACE || is_secret(letters[head])))
            head++;
        for (size_t i = begin; i < head; i++)
            if (!is_secret(letters[i]))
                append(out, blocks, i);
        for (size_t i = begin; i < end; i++)
            if (is_secret(letters[i]))
                append(out, blocks, i);
        for (size_t i = head; i < end; i++)
            if (!is_secret(letters[i]))
                append(out, blocks, i);
        begin = end;
    }
    return out;
}

static bool run(const Files *files, const uint8_t *bytes, size_t length,
                CollectorKeysFirstStats *ret, GError **error)
{
    g_assert_true(g_file_set_contents(files->in, (const char *)bytes, (gssize)length, NULL));
    return collector_keys_first(files->in, files->out, ret, error);
}

static void assert_out(const Files *files, const GByteArray *expected)
{
    g_autofree char *out = NULL;
    gsize length;
    g_assert_true(g_file_get_contents(files->out, &out, &length, NULL));
    g_assert_cmpmem(out, length, expected->data, expected->len);
}

/* ---- Tests -----------------------------------------------------------------------------------*/

static const struct {
    const char *in;
    const char *order; /* of the blocks by their place in `in`, from 'a' on */
    CollectorKeysFirstStats stats;
} cases[] = {
    {"SIPDPD", "abdfce", {1, 2, 2}},
    {"BIPDPD", "abdfce", {1, 2, 2}},
    /* Secrets of other kinds, and what is no packet. */
    {"SIPTWNUDP", "abehcdfgi", {1, 2, 2}},
    {"BIPTWNUDP", "abehcdfgi", {1, 2, 2}},
    /* Secrets in front are not moved; but interfaces are what Wireshark has to see first. */
    {"SIDDPP", "abcdef", {1, 2, 0}},
    {"SDIDIP", "acebdf", {1, 2, 0}},
    /* An interface that is described later stays where it is. */
    {"SIPIDP", "abecdf", {1, 1, 1}},
    {"SNIDP", "adbce", {1, 1, 1}},
    /* Each section has its own. */
    {"SIPDBIPWSIPSIPD", "abdcefhgijklmon", {4, 3, 3}},
    {"SDBW", "abcd", {2, 2, 0}},
    {"SSB", "abc", {3, 0, 0}},
    {"SIPP", "abcd", {1, 0, 0}},
};

static void test_order(Files *files, gconstpointer data)
{
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GPtrArray) blocks = make_blocks(cases[i].in, 5);
        g_autoptr(GByteArray) in = concatenate(blocks);
        g_autoptr(GByteArray) expected = g_byte_array_new();
        for (const char *c = cases[i].order; *c; c++)
            append(expected, blocks, (size_t)(*c - 'a'));
        g_assert_cmpuint(expected->len, ==, in->len);
        CollectorKeysFirstStats stats;
        GError *error = NULL;
        g_assert_true(run(files, in->data, in->len, &stats, &error));
        g_assert_no_error(error);
        assert_out(files, expected);
        g_assert_cmpuint(stats.sections, ==, cases[i].stats.sections);
        g_assert_cmpuint(stats.secrets, ==, cases[i].stats.secrets);
        g_assert_cmpuint(stats.moved, ==, cases[i].stats.moved);
        /* A second time changes nothing. */
        g_assert_true(run(files, expected->data, expected->len, &stats, &error));
        assert_out(files, expected);
        g_assert_cmpuint(stats.moved, ==, 0);
    }
}

/* Sections that end anywhere in what is read at a time, smaller and larger than it. */
static void test_large(Files *files, gconstpointer data)
{
    g_autoptr(GString) letters = g_string_new(NULL);
    g_autoptr(GRand) random = g_rand_new_with_seed(1);
    for (int section = 0; section < 60; section++) {
        g_string_append(letters, section % 3 ? "SI" : "BI");
        int n = g_rand_int_range(random, 0, section % 5 ? 12 : 200);
        for (int i = 0; i < n; i++)
            g_string_append_c(letters, "PPPPPTDW"[g_rand_int_range(random, 0, 8)]);
    }
    g_autoptr(GPtrArray) blocks = make_blocks(letters->str, 9000);
    g_autoptr(GByteArray) in = concatenate(blocks);
    g_assert_cmpuint(in->len, >, 4 * 1024 * 1024);
    g_autoptr(GByteArray) expected = arrange(blocks, letters->str, letters->len);
    CollectorKeysFirstStats stats;
    GError *error = NULL;
    g_assert_true(run(files, in->data, in->len, &stats, &error));
    g_assert_no_error(error);
    g_assert_cmpuint(stats.sections, ==, 60);
    assert_out(files, expected);
}

/* Cut at every byte: what is whole before the cut is written, its secrets first, and the error says
 * where. */
static void test_torn(Files *files, gconstpointer data)
{
    const char *letters = "SIPDPDBIPWP";
    g_autoptr(GPtrArray) blocks = make_blocks(letters, 5);
    g_autoptr(GByteArray) in = concatenate(blocks);
    size_t whole = 0, offset = 0; /* blocks before the cut, and where they end */
    for (size_t cut = 1; cut < in->len; cut++) {
        if (cut == offset + g_bytes_get_size(blocks->pdata[whole]))
            offset += g_bytes_get_size(blocks->pdata[whole++]);
        CollectorKeysFirstStats stats;
        GError *error = NULL;
        g_assert_cmpint(run(files, in->data, cut, &stats, &error), ==, cut == offset);
        g_autoptr(GByteArray) expected = arrange(blocks, letters, whole);
        assert_out(files, expected);
        if (cut == offset)
            continue;
        g_autofree char *text = g_strdup_printf("offset %zu:", offset);
        g_assert_error(error, COLLECTOR_ERROR, COLLECTOR_ERROR_FORMAT);
        g_assert_nonnull(strstr(error->message, text));
        g_clear_error(&error);
    }
    g_assert_cmpuint(whole, ==, blocks->len - 1);
}

/* A block that breaks the format is as a tear, wherever it stands. */
static void test_broken_block(Files *files, gconstpointer data)
{
    const char *letters = "SIPDPDBIPWP";
    g_autoptr(GPtrArray) blocks = make_blocks(letters, 5);
    size_t offset = 0;
    for (size_t i = 0; i < blocks->len; offset += g_bytes_get_size(blocks->pdata[i]), i++) {
        g_autoptr(GByteArray) in = concatenate(blocks);
        size_t at = offset + g_bytes_get_size(blocks->pdata[i]) - 4;
        in->data[at] ^= 0x10;
        CollectorKeysFirstStats stats;
        GError *error = NULL;
        g_assert_false(run(files, in->data, in->len, &stats, &error));
        g_autofree char *text = g_strdup_printf("offset %zu:", at);
        g_assert_error(error, COLLECTOR_ERROR, COLLECTOR_ERROR_FORMAT);
        g_assert_nonnull(strstr(error->message, text));
        g_clear_error(&error);
        g_autoptr(GByteArray) expected = arrange(blocks, letters, i);
        assert_out(files, expected);
    }
}

static void assert_refused(const Files *files, const void *bytes, size_t length, const char *text)
{
    CollectorKeysFirstStats stats;
    GError *error = NULL;
    g_assert_false(run(files, bytes, length, &stats, &error));
    g_assert_error(error, COLLECTOR_ERROR, COLLECTOR_ERROR_FORMAT);
    g_assert_nonnull(strstr(error->message, text));
    g_clear_error(&error);
}

static void test_refusals(Files *files, gconstpointer data)
{
    static const uint8_t classic[24] = {0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4};
    assert_refused(files, classic, sizeof classic, "holds no secrets");
    assert_refused(files, "no capture at all", 17, "neither pcap nor pcapng");
    assert_refused(files, "", 0, "offset 0");
    g_autoptr(GPtrArray) stray = make_blocks("DSI", 5);
    g_autoptr(GByteArray) headless = concatenate(stray);
    assert_refused(files, headless->data, headless->len, "offset 0");

    /* Its own input as output would be lost. */
    g_autoptr(GPtrArray) blocks = make_blocks("SIPD", 5);
    g_autoptr(GByteArray) in = concatenate(blocks);
    g_assert_true(g_file_set_contents(files->out, (char *)in->data, in->len, NULL));
    CollectorKeysFirstStats stats;
    GError *error = NULL;
    g_assert_false(collector_keys_first(files->out, files->out, &stats, &error));
    g_assert_error(error, COLLECTOR_ERROR, COLLECTOR_ERROR_FORMAT);
    g_clear_error(&error);
    assert_out(files, in);
}

/* A full disk is told as what it is, not as a tear. */
static void test_full(Files *files, gconstpointer data)
{
    if (!g_file_test("/dev/full", G_FILE_TEST_EXISTS)) {
        g_test_skip("there is no /dev/full");
        return;
    }
    g_autoptr(GPtrArray) blocks = make_blocks("SIPDPD", 100000);
    g_autoptr(GByteArray) in = concatenate(blocks);
    for (unsigned torn = 0; torn < 2; torn++) {
        g_assert_true(
            g_file_set_contents(files->in, (char *)in->data, (gssize)(in->len - torn), NULL));
        CollectorKeysFirstStats stats;
        GError *error = NULL;
        g_assert_false(collector_keys_first(files->in, "/dev/full", &stats, &error));
        g_assert_error(error, COLLECTOR_ERROR, COLLECTOR_ERROR_WRITE);
        g_clear_error(&error);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(PATH, FUNCTION) g_test_add("/keys-first/" PATH, Files, NULL, setup, FUNCTION, teardown)
    ADD("order", test_order);
    ADD("large", test_large);
    ADD("torn", test_torn);
    ADD("broken-block", test_broken_block);
    ADD("refusals", test_refusals);
    ADD("full", test_full);
    return g_test_run();
}
