// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/identity-option.h"

#include <errno.h>
#include <string.h>

#define TLV_HEADER 4u /* type, scope, length */

static uint64_t load_be(const uint8_t *at, size_t length)
{
    uint64_t value = 0;
    for (size_t i = 0; i < length; i++)
        value = value << 8 | at[i];
    return value;
}

static void store_be(uint8_t *at, size_t length, uint64_t value)
{
    for (size_t i = length; i-- > 0; value >>= 8)
        at[i] = (uint8_t)value;
}

void identity_writer_init(IdentityWriter *writer, void *memory, size_t capacity)
{
    *writer = (IdentityWriter){
        .data = memory,
        .capacity = capacity < IDENTITY_MAX ? capacity : IDENTITY_MAX,
    };
    if (writer->capacity < IDENTITY_HEADER) {
        writer->capacity = 0;
        writer->overflow = true;
        return;
    }
    store_be(writer->data, 2, IDENTITY_MAGIC);
    writer->data[2] = IDENTITY_VERSION;
    writer->data[3] = 0;
    writer->length = IDENTITY_HEADER;
}

/* The header of a TLV; returns where its value goes, or NULL where it does not fit. */
static uint8_t *begin_tlv(IdentityWriter *writer, IdentityType type, IdentityScope scope,
                          size_t length)
{
    size_t room = writer->capacity - writer->length;
    if (room < TLV_HEADER || room - TLV_HEADER < length) {
        writer->overflow = true;
        return NULL;
    }
    uint8_t *at = writer->data + writer->length;
    at[0] = (uint8_t)type;
    at[1] = (uint8_t)scope;
    store_be(at + 2, 2, length);
    writer->length += TLV_HEADER + length;
    return at + TLV_HEADER;
}

void identity_put_bytes(IdentityWriter *writer, IdentityType type, IdentityScope scope,
                        const void *value, size_t length)
{
    uint8_t *at = begin_tlv(writer, type, scope, length);
    if (at && length)
        memcpy(at, value, length);
}

void identity_put_text(IdentityWriter *writer, IdentityType type, IdentityScope scope,
                       const char *text)
{
    if (text && *text)
        identity_put_bytes(writer, type, scope, text, strlen(text));
}

static void put_number(IdentityWriter *writer, IdentityType type, IdentityScope scope,
                       size_t length, uint64_t value)
{
    uint8_t *at = begin_tlv(writer, type, scope, length);
    if (at)
        store_be(at, length, value);
}

void identity_put_u8(IdentityWriter *writer, IdentityType type, IdentityScope scope, uint8_t value)
{
    put_number(writer, type, scope, sizeof value, value);
}

void identity_put_u32(IdentityWriter *writer, IdentityType type, IdentityScope scope,
                      uint32_t value)
{
    put_number(writer, type, scope, sizeof value, value);
}

void identity_put_u64(IdentityWriter *writer, IdentityType type, IdentityScope scope,
                      uint64_t value)
{
    put_number(writer, type, scope, sizeof value, value);
}

void identity_set_flags(IdentityWriter *writer, uint8_t flags)
{
    if (writer->length >= IDENTITY_HEADER)
        writer->data[3] = flags;
}

int identity_reader_init(IdentityReader *reader, const uint8_t *bytes, size_t length)
{
    if (length < IDENTITY_HEADER)
        return -EBADMSG;
    if (load_be(bytes, 2) != IDENTITY_MAGIC)
        return -ENOMSG;
    if (bytes[2] != IDENTITY_VERSION)
        return -EPROTO;
    *reader = (IdentityReader){
        .cursor = bytes + IDENTITY_HEADER,
        .end = bytes + length,
        .version = bytes[2],
        .flags = bytes[3],
    };
    return 0;
}

int identity_next(IdentityReader *reader, IdentityTlv *ret)
{
    size_t left = (size_t)(reader->end - reader->cursor);
    if (!left)
        return 0;
    if (left < TLV_HEADER)
        return -EBADMSG;
    const uint8_t *at = reader->cursor;
    size_t length = (size_t)load_be(at + 2, 2);
    if (length > left - TLV_HEADER)
        return -EBADMSG;
    *ret = (IdentityTlv){
        .type = at[0],
        .scope = at[1],
        .length = (uint16_t)length,
        .value = at + TLV_HEADER,
    };
    reader->cursor = at + TLV_HEADER + length;
    return 1;
}

int identity_u8(const IdentityTlv *tlv, uint8_t *ret)
{
    if (tlv->length != sizeof *ret)
        return -EBADMSG;
    *ret = tlv->value[0];
    return 0;
}

int identity_u32(const IdentityTlv *tlv, uint32_t *ret)
{
    if (tlv->length != sizeof *ret)
        return -EBADMSG;
    *ret = (uint32_t)load_be(tlv->value, sizeof *ret);
    return 0;
}

int identity_u64(const IdentityTlv *tlv, uint64_t *ret)
{
    if (tlv->length != sizeof *ret)
        return -EBADMSG;
    *ret = load_be(tlv->value, sizeof *ret);
    return 0;
}
