// SPDX-License-Identifier: GPL-2.0-or-later
#include "named.h"

#include <string.h>

#include "k8s-enrich/identity-option.h"

static void append_tlv(GString *out, const IdentityTlv *tlv)
{
    uint64_t u64;
    uint32_t u32;
    uint8_t u8;
    g_string_append_printf(out, "%u/%u=", tlv->type, tlv->scope);
    if (tlv->type == IDENTITY_ENTITY && identity_u64(tlv, &u64) == 0)
        g_string_append(out, "entity");
    else if (tlv->type == IDENTITY_FLOW_ID && identity_u64(tlv, &u64) == 0)
        g_string_append_printf(out, "%" G_GUINT64_FORMAT, u64);
    else if (tlv->type == IDENTITY_PEER_TYPE && identity_u8(tlv, &u8) == 0)
        g_string_append_printf(out, "%u", u8);
    else if (tlv->type == IDENTITY_PROCESS_PID && identity_u32(tlv, &u32) == 0)
        g_string_append_printf(out, "%u", u32);
    else
        g_string_append_len(out, (const char *)tlv->value, tlv->length);
    g_string_append_c(out, '\n');
}

Named name(Annotator *annotator, const AnnotateRequest *request)
{
    Named ret = {0};
    annotate(annotator, request, &ret.annotation);
    GString *text = g_string_new("\n");
    PcapngBlock block = {.options = ret.annotation.options,
                         .options_length = (uint32_t)ret.annotation.length};
    const uint8_t *cursor = block.options;
    PcapngOption option;
    int r;
    while ((r = pcapng_option_next(&block, &cursor, &option)) > 0) {
        if (option.code == PCAPNG_OPT_COMMENT)
            ret.comment = g_strndup((const char *)option.value, option.length);
        if (option.code != PCAPNG_OPT_CUSTOM_BINARY)
            continue;
        IdentityReader reader;
        IdentityTlv tlv;
        g_assert_cmpint(identity_reader_init(&reader, option.value + 4, option.length - 4u), ==, 0);
        ret.flags = reader.flags;
        while ((r = identity_next(&reader, &tlv)) > 0)
            append_tlv(text, &tlv);
        g_assert_cmpint(r, ==, 0);
    }
    g_assert_cmpint(r, ==, 0);
    ret.text = g_string_free(text, FALSE);
    return ret;
}

void named_clear(Named *named)
{
    g_free(named->text);
    g_free(named->comment);
}

PacketInfo parse(const FixturePacket *packet)
{
    uint8_t frame[FIXTURE_PACKET_MAX];
    PacketInfo info;
    packet_parse(1, frame, fixture_frame(packet, frame), &info);
    return info;
}

bool named_has(const Named *named, unsigned type, unsigned scope, const char *value)
{
    g_autofree char *line = g_strdup_printf("\n%u/%u=%s\n", type, scope, value);
    return strstr(named->text, line) != NULL;
}
