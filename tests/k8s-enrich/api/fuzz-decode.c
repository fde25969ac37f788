// SPDX-License-Identifier: GPL-2.0-or-later
/* Any bytes as an answer of the API server, whole and in small pieces: both must tell the same. The
 * first byte chooses the body and the resource. */
#include <glib.h>

#include "k8s-enrich/api/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Heard {
    unsigned objects, malformed, lists, bookmarks, statuses;
} Heard;

static void hear_object(ApiChange change, const ApiObject *object, void *userdata)
{
    Heard *heard = userdata;
    heard->objects++;
    heard->malformed += object->problem != NULL;
    if (object->entity && object->problem)
        g_error("an entity and a problem");
}

static void hear_list(const char *resource_version, const char *continue_token, void *userdata)
{
    ((Heard *)userdata)->lists++;
}

static void hear_bookmark(const char *resource_version, void *userdata)
{
    ((Heard *)userdata)->bookmarks++;
}

static void hear_status(const ApiStatus *status, void *userdata)
{
    ((Heard *)userdata)->statuses++;
}

static const ApiDecoderOps ops = {hear_object, hear_list, hear_bookmark, hear_status};

static int decode(const uint8_t *data, size_t size, size_t piece, Heard *heard)
{
    const ApiResource *resource = &api_resources[(data[0] >> 2) % API_RESOURCES];
    ApiDecoder *decoder = api_decoder_new(resource, (ApiBody)((data[0] & 3) % 3),
                                          REMORA_FUZZ_FORMAT, API_PAGE_MAX, &ops, heard);
    for (size_t at = 1; at < size; at += piece)
        api_decoder_feed(decoder, data + at, MIN(piece, size - at));
    int r = api_decoder_finish(decoder);
    if ((r < 0) != (*api_decoder_error(decoder) != 0))
        g_error("an error without a text, or a text without an error");
    api_decoder_free(decoder);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Heard whole = {0}, pieces = {0};
    if (size == 0)
        return 0;
    int a = decode(data, size, size, &whole), b = decode(data, size, 3, &pieces);
    if (a != b || whole.objects != pieces.objects || whole.malformed != pieces.malformed ||
        whole.lists != pieces.lists || whole.statuses != pieces.statuses)
        g_error("the same bytes, told differently in pieces");
    return 0;
}
