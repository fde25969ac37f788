// SPDX-License-Identifier: GPL-2.0-or-later
#include <errno.h>
#include <string.h>

#include "k8s-enrich/api/decode-private.h"
#include "k8s-enrich/inventory-object.h"
#include "k8s-enrich/json-member.h"

static void tell_status(ApiDecoder *decoder, const json_t *json)
{
    /* Of a status that is malformed itself the rest still counts. */
    g_autofree char *problem = NULL;
    const json_t *details = member_object(json, "", "details", &problem);
    json_int_t code = json_integer_value(json_object_get(json, "code"));
    json_int_t retry = json_integer_value(json_object_get(details, "retryAfterSeconds"));
    ApiStatus status = {
        .code = code > 0 && code < 1000 ? (int)code : 0,
        .reason = member_text(json, "", "reason", &problem),
        .message = member_text(json, "", "message", &problem),
        .retry_after_s = retry > 0 && retry < 86400 ? (unsigned)retry : 0,
    };
    decoder_status(decoder, &status);
}

static json_t *parse(ApiDecoder *decoder, const uint8_t *bytes, size_t length)
{
    json_error_t error;
    json_t *json = json_loadb((const char *)bytes, length, 0, &error);
    if (!json)
        decoder_fail(decoder, -EBADMSG, "broken JSON at byte %d: %s", error.position, error.text);
    return json;
}

static const char *kind_of(const json_t *json)
{
    const char *kind = json_string_value(json_object_get(json, "kind"));
    return kind ? kind : "";
}

static void tell_list(ApiDecoder *decoder, const json_t *json)
{
    g_autofree char *problem = NULL;
    const json_t *metadata = member_object(json, "", "metadata", &problem);
    const json_t *items = member_array(json, "", "items", &problem);
    const char *version = member_text(metadata, "metadata", "resourceVersion", &problem);
    const char *token = member_text(metadata, "metadata", "continue", &problem);
    if (problem) {
        decoder_fail(decoder, -EBADMSG, "%sList: %s", decoder->resource->kind, problem);
        return;
    }
    size_t index;
    const json_t *item;
    json_array_foreach(items, index, item)
    {
        ApiObject object;
        object_from_json(&decoder->reader, item, &object);
        decoder_object(decoder, API_LISTED, &object);
    }
    decoder->ops->list(version, token, decoder->userdata);
}

int decoder_whole_json(ApiDecoder *decoder)
{
    json_t *json = parse(decoder, decoder->buffer->data, decoder->buffer->len);
    if (!json)
        return decoder->result;
    if (g_str_equal(kind_of(json), "Status")) {
        tell_status(decoder, json);
    } else if (decoder->body == API_BODY_LIST) {
        if (decoder_expect(decoder, kind_of(json), "List") == 0)
            tell_list(decoder, json);
    } else if (decoder_expect(decoder, kind_of(json), "") == 0) {
        ApiObject object;
        object_from_json(&decoder->reader, json, &object);
        decoder_object(decoder, API_LISTED, &object);
    }
    json_decref(json);
    return decoder->result;
}

static void tell_event(ApiDecoder *decoder, const json_t *json)
{
    const char *type = json_string_value(json_object_get(json, "type"));
    const json_t *body = json_object_get(json, "object");
    if (!type || !json_is_object(body)) {
        decoder_fail(decoder, -EBADMSG, "an event without type and object");
        return;
    }
    int change = decoder_change(type);
    if (g_str_equal(type, "ERROR")) {
        tell_status(decoder, body);
    } else if (decoder_expect(decoder, kind_of(body), "") == 0) {
        ApiObject object;
        if (g_str_equal(type, "BOOKMARK")) {
            const char *version = json_string_value(
                json_object_get(json_object_get(body, "metadata"), "resourceVersion"));
            decoder->ops->bookmark(version ? version : "", decoder->userdata);
        } else if (change >= 0) {
            object_from_json(&decoder->reader, body, &object);
            decoder_object(decoder, (ApiChange)change, &object);
        }
    }
}

/* The server ends each event with a newline, and writes none within. */
int decoder_frames_json(ApiDecoder *decoder)
{
    while (!decoder->ended && decoder->result == 0) {
        const uint8_t *start = decoder->buffer->data + decoder->used;
        size_t length = decoder->buffer->len - decoder->used;
        const uint8_t *end = length ? memchr(start, '\n', length) : NULL;
        if ((end ? (size_t)(end - start) : length) > API_FRAME_MAX)
            return decoder_fail(decoder, -EMSGSIZE, "an event of more than %u MiB",
                                API_FRAME_MAX >> 20);
        if (!end)
            return 0;
        decoder->used += (size_t)(end - start) + 1;
        if (end == start)
            continue;
        json_t *json = parse(decoder, start, (size_t)(end - start));
        if (json)
            tell_event(decoder, json);
        json_decref(json);
    }
    return decoder->result;
}
