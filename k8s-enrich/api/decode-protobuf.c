// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>

#include "k8s-enrich/api/decode-private.h"
#include "k8s-enrich/api/kubernetes.pb-c.h"

/* runtime.Unknown and the lists. */
enum {
    ENVELOPE_TYPE = 1,
    ENVELOPE_RAW = 2,
    LIST_META = 1,
    LIST_ITEMS = 2,
};
enum {
    WIRE_VARINT = 0,
    WIRE_BYTES = 2,
};

static const uint8_t magic[4] = {'k', '8', 's', 0};

typedef struct Field {
    uint64_t number, length; /* length 0 for a varint */
    size_t header;           /* bytes of key, and of length or value */
} Field;

static int read_varint(const uint8_t *bytes, size_t length, size_t *at, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (*at == length)
            return -EAGAIN;
        uint8_t byte = bytes[(*at)++];
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = value;
            return 0;
        }
    }
    return -EBADMSG;
}

/* -EAGAIN if more bytes are needed. Fields of these messages are bytes or varints. */
static int read_field(const uint8_t *bytes, size_t length, Field *ret)
{
    uint64_t key, value;
    size_t at = 0;
    int r = read_varint(bytes, length, &at, &key);
    if (r == 0 && (key & 7) != WIRE_BYTES && (key & 7) != WIRE_VARINT)
        return -EBADMSG;
    if (r == 0)
        r = read_varint(bytes, length, &at, &value);
    if (r == 0)
        *ret = (Field){key >> 3, (key & 7) == WIRE_BYTES ? value : 0, at};
    return r;
}

static void tell_status(ApiDecoder *decoder, const uint8_t *bytes, size_t length)
{
    const Remora__Kubernetes__Status *status = (const void *)arena_unpack(
        decoder->reader.arena, &remora__kubernetes__status__descriptor, bytes, length);
    if (!status) {
        decoder_fail(decoder, -EBADMSG, "a broken Status");
        return;
    }
    int retry = status->details ? status->details->retryafterseconds : 0;
    ApiStatus told = {
        .code = status->code > 0 && status->code < 1000 ? status->code : 0,
        .reason = status->reason ? status->reason : "",
        .message = status->message ? status->message : "",
        .retry_after_s = retry > 0 && retry < 86400 ? (unsigned)retry : 0,
    };
    decoder_status(decoder, &told);
}

static void tell_object(ApiDecoder *decoder, ApiChange change, const uint8_t *bytes, size_t length)
{
    ApiObject object;
    object_from_protobuf(&decoder->reader, bytes, length, &object);
    decoder_object(decoder, change, &object);
}

/* ---- Whole envelopes -------------------------------------------------------------------------*/

typedef struct Envelope {
    char *kind;
    const uint8_t *raw;
    size_t raw_length;
} Envelope;

static int read_type(ApiDecoder *decoder, const uint8_t *bytes, size_t length, char **ret)
{
    const Remora__Kubernetes__TypeMeta *type = (const void *)arena_unpack(
        decoder->reader.arena, &remora__kubernetes__type_meta__descriptor, bytes, length);
    if (!type)
        return decoder_fail(decoder, -EBADMSG, "an envelope with a broken type");
    g_free(*ret);
    *ret = g_strdup(type->kind ? type->kind : "");
    return 0;
}

static int open_envelope(ApiDecoder *decoder, const uint8_t *bytes, size_t length, Envelope *ret)
{
    *ret = (Envelope){0};
    if (length < sizeof magic || memcmp(bytes, magic, sizeof magic) != 0)
        return decoder_fail(decoder, -EBADMSG, "an object that does not begin as one");
    for (size_t at = sizeof magic; at < length;) {
        Field field;
        if (read_field(bytes + at, length - at, &field) < 0 ||
            field.length > length - at - field.header)
            return decoder_fail(decoder, -EBADMSG, "a broken envelope");
        at += field.header;
        if (field.number == ENVELOPE_TYPE &&
            read_type(decoder, bytes + at, (size_t)field.length, &ret->kind) < 0)
            return decoder->result;
        if (field.number == ENVELOPE_RAW) {
            ret->raw = bytes + at;
            ret->raw_length = (size_t)field.length;
        }
        at += (size_t)field.length;
    }
    if (!ret->kind)
        ret->kind = g_strdup("");
    return 0;
}

int decoder_whole_protobuf(ApiDecoder *decoder)
{
    Envelope envelope;
    arena_reset(decoder->reader.arena);
    if (open_envelope(decoder, decoder->buffer->data, decoder->buffer->len, &envelope) == 0) {
        if (g_str_equal(envelope.kind, "Status"))
            tell_status(decoder, envelope.raw, envelope.raw_length);
        else if (decoder_expect(decoder, envelope.kind, "") == 0)
            tell_object(decoder, API_LISTED, envelope.raw, envelope.raw_length);
    }
    g_free(envelope.kind);
    return decoder->result;
}

/* ---- Watches ---------------------------------------------------------------------------------*/

static void tell_bookmark(ApiDecoder *decoder, const Envelope *envelope)
{
    const Remora__Kubernetes__Object *object =
        (const void *)arena_unpack(decoder->reader.arena, &remora__kubernetes__object__descriptor,
                                   envelope->raw, envelope->raw_length);
    if (!object) {
        decoder_fail(decoder, -EBADMSG, "a broken bookmark");
        return;
    }
    const char *version = object->metadata ? object->metadata->resourceversion : NULL;
    decoder->ops->bookmark(version ? version : "", decoder->userdata);
}

static void tell_event(ApiDecoder *decoder, const uint8_t *bytes, size_t length)
{
    arena_reset(decoder->reader.arena);
    const Remora__Kubernetes__WatchEvent *event = (const void *)arena_unpack(
        decoder->reader.arena, &remora__kubernetes__watch_event__descriptor, bytes, length);
    if (!event || !event->type || !event->object) {
        decoder_fail(decoder, -EBADMSG, "an event without type and object");
        return;
    }
    Envelope envelope;
    int change = decoder_change(event->type);
    if (open_envelope(decoder, event->object->raw.data, event->object->raw.len, &envelope) == 0) {
        if (g_str_equal(event->type, "ERROR"))
            tell_status(decoder, envelope.raw, envelope.raw_length);
        else if (decoder_expect(decoder, envelope.kind, "") < 0)
            ;
        else if (g_str_equal(event->type, "BOOKMARK"))
            tell_bookmark(decoder, &envelope);
        else if (change >= 0)
            tell_object(decoder, (ApiChange)change, envelope.raw, envelope.raw_length);
    }
    g_free(envelope.kind);
}

/* Four bytes of length, most significant first, then the event. */
int decoder_frames_protobuf(ApiDecoder *decoder)
{
    while (!decoder->ended && decoder->result == 0) {
        const uint8_t *bytes = decoder->buffer->data + decoder->used;
        size_t have = decoder->buffer->len - decoder->used;
        if (have < 4)
            return 0;
        size_t length = (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 |
                        (size_t)bytes[3];
        if (length > API_FRAME_MAX)
            return decoder_fail(decoder, -EMSGSIZE, "an event of more than %u MiB",
                                API_FRAME_MAX >> 20);
        if (have - 4 < length)
            return 0;
        decoder->used += 4 + length;
        tell_event(decoder, bytes + 4, length);
    }
    return decoder->result;
}

/* ---- Lists -----------------------------------------------------------------------------------*/

static void tell_list(ApiDecoder *decoder, const uint8_t *bytes, size_t length)
{
    const Remora__Kubernetes__ListMeta *meta = (const void *)arena_unpack(
        decoder->reader.arena, &remora__kubernetes__list_meta__descriptor, bytes, length);
    if (!meta) {
        decoder_fail(decoder, -EBADMSG, "a list with broken metadata");
        return;
    }
    decoder->ops->list(meta->resourceversion ? meta->resourceversion : "",
                       meta->continue_ ? meta->continue_ : "", decoder->userdata);
}

/* A field whose content is wanted whole: -EAGAIN until it is. */
static int wait_for(ApiDecoder *decoder, const Field *field, size_t have)
{
    if (field->length > API_FRAME_MAX)
        return decoder_fail(decoder, -EMSGSIZE, "an object of more than %u MiB",
                            API_FRAME_MAX >> 20);
    return have - field->header < field->length ? -EAGAIN : 0;
}

/* Each takes one piece off the front: 1 for having done so, 0 for waiting. */
static int take_envelope_field(ApiDecoder *decoder, const uint8_t *bytes, size_t have)
{
    Field field;
    int r = read_field(bytes, have, &field);
    if (r == -EAGAIN)
        return 0;
    if (r < 0)
        return decoder_fail(decoder, r, "a broken envelope");
    bool is_status = decoder->type && g_str_equal(decoder->type, "Status");
    if (field.number == ENVELOPE_TYPE || (field.number == ENVELOPE_RAW && is_status)) {
        r = wait_for(decoder, &field, have);
        if (r < 0)
            return r == -EAGAIN ? 0 : r;
        if (is_status)
            tell_status(decoder, bytes + field.header, (size_t)field.length);
        else
            read_type(decoder, bytes + field.header, (size_t)field.length, &decoder->type);
        decoder->used += field.header + (size_t)field.length;
    } else if (field.number == ENVELOPE_RAW) {
        if (decoder->seen_list)
            return decoder_fail(decoder, -EBADMSG, "two lists in one answer");
        if (decoder_expect(decoder, decoder->type ? decoder->type : "", "List") < 0)
            return decoder->result;
        decoder->seen_list = true;
        decoder->stage = STAGE_ITEMS;
        decoder->items_left = field.length;
        decoder->used += field.header;
    } else {
        decoder->skip_left = field.length;
        decoder->used += field.header;
    }
    return 1;
}

static int take_item(ApiDecoder *decoder, const uint8_t *bytes, size_t have)
{
    Field field;
    int r = read_field(bytes, (size_t)MIN(have, decoder->items_left), &field);
    if (r == -EAGAIN && have < decoder->items_left)
        return 0;
    if (r < 0 || field.length > decoder->items_left - field.header)
        return decoder_fail(decoder, -EBADMSG, "a broken list");
    if (field.number == LIST_META || field.number == LIST_ITEMS) {
        r = wait_for(decoder, &field, have);
        if (r < 0)
            return r == -EAGAIN ? 0 : r;
        arena_reset(decoder->reader.arena);
        if (field.number == LIST_META)
            tell_list(decoder, bytes + field.header, (size_t)field.length);
        else
            tell_object(decoder, API_LISTED, bytes + field.header, (size_t)field.length);
        decoder->used += field.header + (size_t)field.length;
    } else {
        decoder->skip_left = field.length;
        decoder->used += field.header;
    }
    decoder->items_left -= field.header + field.length;
    return 1;
}

static int take_magic(ApiDecoder *decoder, const uint8_t *bytes, size_t have)
{
    if (have < sizeof magic)
        return 0;
    if (memcmp(bytes, magic, sizeof magic) != 0)
        return decoder_fail(decoder, -EBADMSG, "an answer that does not begin as an object");
    decoder->used += sizeof magic;
    decoder->stage = STAGE_ENVELOPE;
    return 1;
}

int decoder_list_protobuf(ApiDecoder *decoder)
{
    int r = 1;
    while (r > 0 && decoder->result == 0 && !decoder->ended) {
        size_t have = decoder->buffer->len - decoder->used;
        const uint8_t *bytes = decoder->buffer->data + decoder->used;
        if (have == 0)
            return 0;
        if (decoder->skip_left > 0) {
            size_t skip = (size_t)MIN(decoder->skip_left, have);
            decoder->skip_left -= skip;
            decoder->used += skip;
        } else if (decoder->stage == STAGE_MAGIC) {
            r = take_magic(decoder, bytes, have);
        } else if (decoder->stage == STAGE_ENVELOPE) {
            r = take_envelope_field(decoder, bytes, have);
        } else if (decoder->items_left > 0) {
            r = take_item(decoder, bytes, have);
        } else {
            decoder->stage = STAGE_ENVELOPE;
        }
    }
    return decoder->result;
}
