// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "common/pcapng/pcapng.h"
#include "k8s-enrich/identity-option.h"
#include "k8s-enrich/inventory.h"

G_STATIC_ASSERT((int)IDENTITY_PEER_UNKNOWN == (int)PEER_UNKNOWN);
G_STATIC_ASSERT((int)IDENTITY_PEER_POD == (int)PEER_POD);
G_STATIC_ASSERT((int)IDENTITY_PEER_SERVICE == (int)PEER_SERVICE);
G_STATIC_ASSERT((int)IDENTITY_PEER_NODE == (int)PEER_NODE);
G_STATIC_ASSERT((int)IDENTITY_PEER_EXTERNAL == (int)PEER_EXTERNAL);

static char *read_documentation(void)
{
    g_autofree char *path =
        g_build_filename(g_test_get_dir(G_TEST_DIST), "../../docs/pcapng-identity.md", NULL);
    char *text = NULL;
    g_autoptr(GError) error = NULL;
    if (!g_file_get_contents(path, &text, NULL, &error))
        g_error("%s", error->message);
    return text;
}

/* The bytes of the hex dump behind "<!-- NAME -->" in the documentation: "0000  52 4d ...  text".
 */
static GByteArray *read_dump(const char *name)
{
    g_autofree char *text = read_documentation();
    g_autofree char *mark = g_strdup_printf("<!-- %s -->\n```\n", name);
    char *start = strstr(text, mark);
    g_assert_nonnull(start);
    start += strlen(mark);
    char *end = strstr(start, "```");
    g_assert_nonnull(end);
    *end = '\0';

    GByteArray *bytes = g_byte_array_new();
    g_auto(GStrv) lines = g_strsplit(start, "\n", -1);
    for (char **line = lines; *line && **line; line++) {
        g_assert_cmpuint(strlen(*line), >, 6);
        char *cursor = *line + 6;
        g_assert_cmpuint(g_ascii_strtoull(*line, NULL, 16), ==, bytes->len);
        while (g_ascii_isxdigit(cursor[0]) && g_ascii_isxdigit(cursor[1])) {
            uint8_t byte =
                (uint8_t)(g_ascii_xdigit_value(cursor[0]) << 4 | g_ascii_xdigit_value(cursor[1]));
            g_byte_array_append(bytes, &byte, 1);
            cursor += cursor[2] == ' ' ? 3 : 2;
        }
    }
    return bytes;
}

/* What the documentation shows is what is written. */
static void test_documented_core(void)
{
    uint8_t memory[IDENTITY_MAX];
    IdentityWriter writer;
    identity_writer_init(&writer, memory, sizeof memory);
    identity_put_u64(&writer, IDENTITY_ENTITY, IDENTITY_SRC, 0x1122334455667788);
    identity_put_u8(&writer, IDENTITY_PEER_TYPE, IDENTITY_SRC, IDENTITY_PEER_POD);
    identity_put_text(&writer, IDENTITY_NAMESPACE, IDENTITY_SRC, "shop");
    identity_put_text(&writer, IDENTITY_POD, IDENTITY_SRC, "frontend-1");
    identity_put_u8(&writer, IDENTITY_PEER_TYPE, IDENTITY_DST, IDENTITY_PEER_EXTERNAL);
    identity_put_text(&writer, IDENTITY_CAPTURE_NODE, IDENTITY_PACKET, "node-a");
    g_assert_false(writer.overflow);
    g_autoptr(GByteArray) expected = read_dump("core");
    g_assert_cmpmem(memory, writer.length, expected->data, expected->len);
}

/* The option as it stands in a little endian file: header and enterprise number in front. */
static void test_documented_option(void)
{
    g_autoptr(GByteArray) core = read_dump("core");
    uint8_t memory[256];
    PcapngBuilder builder;
    pcapng_builder_init(&builder, memory, sizeof memory);
    pcapng_build_packet(&builder, 0, 0, NULL, 0, 0);
    pcapng_build_option_custom(&builder, PCAPNG_OPT_CUSTOM_BINARY, IDENTITY_ENTERPRISE, core->data,
                               core->len);
    g_assert_cmpint(pcapng_build_end(&builder), >, 0);
    g_autoptr(GString) front = g_string_new("`");
    for (size_t i = 0; i < 8; i++)
        g_string_append_printf(front, "%02x%s", memory[PCAPNG_EPB_FIXED + i], i < 7 ? " " : "`");
    g_autofree char *text = read_documentation();
    g_assert_nonnull(strstr(text, front->str));
}

static void test_documented_attributes(void)
{
    uint8_t memory[IDENTITY_MAX];
    IdentityWriter writer;
    identity_writer_init(&writer, memory, sizeof memory);
    identity_put_u64(&writer, IDENTITY_ENTITY, IDENTITY_DST, 0x99AABBCCDDEEFF00);
    identity_put_text(&writer, IDENTITY_LABEL, IDENTITY_DST, "app=web");
    identity_put_u32(&writer, IDENTITY_PROCESS_PID, IDENTITY_DST, 4242);
    identity_set_flags(&writer, IDENTITY_FLAG_ATTRIBUTES);
    g_autoptr(GByteArray) expected = read_dump("attributes");
    g_assert_cmpmem(memory, writer.length, expected->data, expected->len);
}

static void test_read_back(void)
{
    g_autoptr(GByteArray) bytes = read_dump("attributes");
    IdentityReader reader;
    IdentityTlv tlv;
    uint64_t key;
    uint32_t pid;
    uint8_t byte;
    g_assert_cmpint(identity_reader_init(&reader, bytes->data, bytes->len), ==, 0);
    g_assert_cmpuint(reader.version, ==, 1);
    g_assert_cmpuint(reader.flags, ==, IDENTITY_FLAG_ATTRIBUTES);

    g_assert_cmpint(identity_next(&reader, &tlv), ==, 1);
    g_assert_cmpuint(tlv.type, ==, IDENTITY_ENTITY);
    g_assert_cmpuint(tlv.scope, ==, IDENTITY_DST);
    g_assert_cmpint(identity_u64(&tlv, &key), ==, 0);
    g_assert_cmphex(key, ==, 0x99AABBCCDDEEFF00);
    g_assert_cmpint(identity_u32(&tlv, &pid), ==, -EBADMSG);
    g_assert_cmpint(identity_u8(&tlv, &byte), ==, -EBADMSG);

    g_assert_cmpint(identity_next(&reader, &tlv), ==, 1);
    g_assert_cmpuint(tlv.type, ==, IDENTITY_LABEL);
    g_assert_cmpmem(tlv.value, tlv.length, "app=web", 7);

    g_assert_cmpint(identity_next(&reader, &tlv), ==, 1);
    g_assert_cmpint(identity_u64(&tlv, &key), ==, -EBADMSG);
    g_assert_cmpint(identity_u32(&tlv, &pid), ==, 0);
    g_assert_cmpuint(pid, ==, 4242);

    g_assert_cmpint(identity_next(&reader, &tlv), ==, 0);
    g_assert_cmpint(identity_next(&reader, &tlv), ==, 0);
}

/* What does not fit is left out; what is there stays whole. */
static void test_overflow(void)
{
    for (size_t capacity = 0; capacity < 40; capacity++) {
        g_autofree uint8_t *memory = g_malloc(capacity + 1);
        IdentityWriter writer;
        identity_writer_init(&writer, memory, capacity);
        identity_put_u64(&writer, IDENTITY_ENTITY, IDENTITY_SRC, 1);      /* to 16 */
        identity_put_text(&writer, IDENTITY_POD, IDENTITY_SRC, "abcdef"); /* to 26 */
        identity_put_u8(&writer, IDENTITY_PEER_TYPE, IDENTITY_SRC, 1);    /* to 31 */
        identity_set_flags(&writer, IDENTITY_FLAG_ATTRIBUTES);
        g_assert_true(writer.overflow == (capacity < 31));
        g_assert_cmpuint(writer.length, <=, capacity);

        IdentityReader reader;
        IdentityTlv tlv;
        int r = identity_reader_init(&reader, memory, writer.length);
        g_assert_cmpint(r, ==, capacity < IDENTITY_HEADER ? -EBADMSG : 0);
        while (r == 0 && (r = identity_next(&reader, &tlv)) > 0)
            r = 0;
        g_assert_cmpint(r, ==, capacity < IDENTITY_HEADER ? -EBADMSG : 0);
    }
}

static void test_limit(void)
{
    uint8_t memory[2 * IDENTITY_MAX];
    g_autofree char *text = g_strnfill(IDENTITY_MAX - IDENTITY_HEADER - 4, 'x');
    IdentityWriter writer;
    identity_writer_init(&writer, memory, sizeof memory);
    identity_put_text(&writer, IDENTITY_POD, IDENTITY_SRC, text);
    g_assert_cmpuint(writer.length, ==, IDENTITY_MAX);
    g_assert_false(writer.overflow);
    identity_put_bytes(&writer, IDENTITY_POD, IDENTITY_SRC, NULL, 0);
    g_assert_true(writer.overflow);
    g_assert_cmpuint(writer.length, ==, IDENTITY_MAX);

    g_autofree char *longer = g_strnfill(70000, 'x');
    identity_writer_init(&writer, memory, sizeof memory);
    identity_put_text(&writer, IDENTITY_POD, IDENTITY_SRC, longer);
    g_assert_true(writer.overflow);
    g_assert_cmpuint(writer.length, ==, IDENTITY_HEADER);
    identity_put_text(&writer, IDENTITY_POD, IDENTITY_SRC, "");
    identity_put_text(&writer, IDENTITY_POD, IDENTITY_SRC, NULL);
    g_assert_cmpuint(writer.length, ==, IDENTITY_HEADER);
}

static int init_of(const char *bytes, size_t length)
{
    g_autofree uint8_t *copy = g_memdup2(bytes, length);
    IdentityReader reader;
    return identity_reader_init(&reader, copy, length);
}

static void test_refused(void)
{
    g_assert_cmpint(init_of("", 0), ==, -EBADMSG);
    g_assert_cmpint(init_of("RM\1", 3), ==, -EBADMSG);
    g_assert_cmpint(init_of("MR\1\0", 4), ==, -ENOMSG);
    g_assert_cmpint(init_of("RM\0\0", 4), ==, -EPROTO);
    g_assert_cmpint(init_of("RM\2\0", 4), ==, -EPROTO);
    g_assert_cmpint(init_of("RM\1\0", 4), ==, 0);

    static const struct {
        const char *bytes;
        size_t length;
    } torn[] = {
        {"RM\1\0\4", 5},
        {"RM\1\0\4\1\0", 7},
        {"RM\1\0\4\1\0\1", 8},
        {"RM\1\0\4\1\xFF\xFFx", 9},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(torn); i++) {
        g_autofree uint8_t *copy = g_memdup2(torn[i].bytes, torn[i].length);
        IdentityReader reader;
        IdentityTlv tlv;
        g_assert_cmpint(identity_reader_init(&reader, copy, torn[i].length), ==, 0);
        g_assert_cmpint(identity_next(&reader, &tlv), ==, -EBADMSG);
    }
}

/* A type that this version does not know is handed out like any other; the reader goes on behind
 * it. */
static void test_unknown_type(void)
{
    IdentityReader reader;
    IdentityTlv tlv;
    const uint8_t bytes[] = {'R', 'M', 1, 0x80, 250, 9, 0, 2, 'x', 'y', 4, 1, 0, 1, 'p'};
    g_assert_cmpint(identity_reader_init(&reader, bytes, sizeof bytes), ==, 0);
    g_assert_cmpint(identity_next(&reader, &tlv), ==, 1);
    g_assert_cmpuint(tlv.type, ==, 250);
    g_assert_cmpuint(tlv.scope, ==, 9);
    g_assert_cmpint(identity_next(&reader, &tlv), ==, 1);
    g_assert_cmpuint(tlv.type, ==, IDENTITY_POD);
    g_assert_cmpmem(tlv.value, tlv.length, "p", 1);
    g_assert_cmpint(identity_next(&reader, &tlv), ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/identity/documented-core", test_documented_core);
    g_test_add_func("/identity/documented-option", test_documented_option);
    g_test_add_func("/identity/documented-attributes", test_documented_attributes);
    g_test_add_func("/identity/read-back", test_read_back);
    g_test_add_func("/identity/overflow", test_overflow);
    g_test_add_func("/identity/limit", test_limit);
    g_test_add_func("/identity/refused", test_refused);
    g_test_add_func("/identity/unknown-type", test_unknown_type);
    return g_test_run();
}
