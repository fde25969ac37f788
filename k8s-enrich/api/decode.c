// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/api/decode.h"

#include <errno.h>
#include <string.h>

#include "k8s-enrich/api/decode-private.h"

ApiDecoder *api_decoder_new(const ApiResource *resource, ApiBody body, ApiFormat format,
                            size_t limit_bytes, const ApiDecoderOps *ops, void *userdata)
{
    ApiDecoder *decoder = g_new0(ApiDecoder, 1);
    decoder->resource = resource;
    decoder->body = body;
    decoder->format = format;
    decoder->limit = limit_bytes;
    decoder->ops = ops;
    decoder->userdata = userdata;
    decoder->buffer = g_byte_array_new();
    object_reader_init(&decoder->reader, resource);
    return decoder;
}

ApiDecoder *api_decoder_free(ApiDecoder *decoder)
{
    if (!decoder)
        return NULL;
    object_reader_clear(&decoder->reader);
    g_byte_array_unref(decoder->buffer);
    g_free(decoder->error);
    g_free(decoder->type);
    g_free(decoder);
    return NULL;
}

int decoder_fail(ApiDecoder *decoder, int result, const char *format, ...)
{
    if (decoder->result < 0)
        return decoder->result;
    va_list arguments;
    va_start(arguments, format);
    decoder->error = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    return decoder->result = result;
}

int decoder_change(const char *type)
{
    static const struct {
        const char *type;
        ApiChange change;
    } changes[] = {
        {"ADDED", API_ADDED},
        {"MODIFIED", API_MODIFIED},
        {"DELETED", API_DELETED},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(changes); i++)
        if (g_str_equal(changes[i].type, type))
            return (int)changes[i].change;
    return -1;
}

void decoder_status(ApiDecoder *decoder, const ApiStatus *status)
{
    decoder->ended = true;
    decoder->ops->status(status, decoder->userdata);
}

void decoder_object(ApiDecoder *decoder, ApiChange change, const ApiObject *object)
{
    decoder->ops->object(change, object, decoder->userdata);
}

int decoder_expect(ApiDecoder *decoder, const char *kind, const char *suffix)
{
    size_t length = strlen(decoder->resource->kind);
    if (strncmp(kind, decoder->resource->kind, length) == 0 && g_str_equal(kind + length, suffix))
        return 0;
    return decoder_fail(decoder, -EBADMSG, "expected a %s%s, found \"%.60s\"",
                        decoder->resource->kind, suffix, kind);
}

/* Bodies of which nothing can be used before the end. */
static bool is_whole(const ApiDecoder *decoder)
{
    return decoder->body == API_BODY_OBJECT ||
           (decoder->body == API_BODY_LIST && decoder->format == API_FORMAT_JSON);
}

static int consume(ApiDecoder *decoder)
{
    if (is_whole(decoder))
        return 0;
    if (decoder->format == API_FORMAT_JSON)
        return decoder_frames_json(decoder);
    return decoder->body == API_BODY_WATCH ? decoder_frames_protobuf(decoder)
                                           : decoder_list_protobuf(decoder);
}

int api_decoder_feed(ApiDecoder *decoder, const uint8_t *bytes, size_t length)
{
    /* A watch goes on for as long as it likes; its frames are bounded. */
    bool bounded = decoder->body != API_BODY_WATCH;
    if (decoder->result < 0 || decoder->ended)
        return decoder->result;
    if (bounded && length > decoder->limit - decoder->total)
        return decoder_fail(decoder, -EMSGSIZE, "an answer of more than %zu MiB",
                            decoder->limit >> 20);
    if (bounded)
        decoder->total += length;
    g_byte_array_append(decoder->buffer, bytes, (guint)length);
    int r = consume(decoder);
    if (decoder->used > 0)
        g_byte_array_remove_range(decoder->buffer, 0, (guint)decoder->used);
    decoder->used = 0;
    return r;
}

int api_decoder_finish(ApiDecoder *decoder)
{
    if (decoder->result < 0 || decoder->ended)
        return decoder->result;
    if (is_whole(decoder))
        return decoder->format == API_FORMAT_JSON ? decoder_whole_json(decoder)
                                                  : decoder_whole_protobuf(decoder);
    if (decoder->body == API_BODY_LIST && !decoder->seen_list)
        return decoder_fail(decoder, -EBADMSG, "an answer without a list");
    if (api_decoder_is_inside(decoder))
        return decoder_fail(decoder, -EBADMSG, "the answer ended in the middle of an object");
    return 0;
}

const char *api_decoder_error(const ApiDecoder *decoder)
{
    return decoder->error ? decoder->error : "";
}

bool api_decoder_is_inside(const ApiDecoder *decoder)
{
    return decoder->buffer->len > 0 || decoder->items_left > 0 || decoder->skip_left > 0;
}
