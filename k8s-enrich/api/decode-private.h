// SPDX-License-Identifier: GPL-2.0-or-later
/* The inside of an ApiDecoder: decode.c keeps the bytes, decode-protobuf.c and decode-json.c take
 * what is whole off their front. */
#pragma once

#include <glib.h>

#include "k8s-enrich/api/object.h"

typedef enum Stage {
    STAGE_MAGIC,    /* a list's envelope */
    STAGE_ENVELOPE, /* its fields */
    STAGE_ITEMS,    /* the list within it */
} Stage;

struct ApiDecoder {
    const ApiResource *resource;
    ApiBody body;
    ApiFormat format;
    size_t limit, total;
    const ApiDecoderOps *ops;
    void *userdata;
    ObjectReader reader;
    GByteArray *buffer; /* what has come and is not used yet */
    size_t used;        /* of its front */
    char *error;
    int result; /* of the first error */
    bool ended; /* by a status */
    /* of a list in protocol buffers */
    Stage stage;
    bool seen_list;
    uint64_t items_left; /* bytes of the list that are still to come */
    uint64_t skip_left;  /* bytes of a field that nobody wants */
    char *type;          /* the kind the envelope names */
};

/* Sets the error unless there is one, and returns it. */
int decoder_fail(ApiDecoder *decoder, int result, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The change that a watch event's type names; -1: none, but perhaps BOOKMARK or ERROR. */
int decoder_change(const char *type);
void decoder_status(ApiDecoder *decoder, const ApiStatus *status);
void decoder_object(ApiDecoder *decoder, ApiChange change, const ApiObject *object);
/* Checks an object's or list's kind ("Pod", "PodList"). */
int decoder_expect(ApiDecoder *decoder, const char *kind, const char *suffix);

/* Take as many whole pieces as there are: 0 or an error. */
int decoder_list_protobuf(ApiDecoder *decoder);
int decoder_frames_protobuf(ApiDecoder *decoder);
int decoder_frames_json(ApiDecoder *decoder);
/* The whole body is there. */
int decoder_whole_protobuf(ApiDecoder *decoder);
int decoder_whole_json(ApiDecoder *decoder);
