// SPDX-License-Identifier: GPL-2.0-or-later
/* Bodies of the API server's answers, decoded as they arrive: lists, watches, single objects, and
 * the Status that stands in place of any of them, as protocol buffers or JSON. No I/O, no clock.
 *
 * A list in protocol buffers is decoded item by item and may be longer than memory should hold; in
 * JSON it is held whole. Sources: Kubernetes API concepts, "Alternate representations of
 * resources"; k8s.io/apimachinery runtime/generated.proto (Unknown) and meta/v1 (WatchEvent). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "k8s-enrich/api/resource.h"

#define API_FRAME_MAX  (16u * 1024u * 1024u) /* an event of a watch, or an item of a list */
#define API_OBJECT_MAX (16u * 1024u * 1024u) /* a single object */
#define API_PAGE_MAX   (64u * 1024u * 1024u) /* a list that is held whole, or a page of it */
/* A list that is decoded item by item: 50,000 pods are about 75 MB. */
#define API_LIST_MAX (1024u * 1024u * 1024u)

typedef enum ApiFormat {
    API_FORMAT_PROTOBUF,
    API_FORMAT_JSON,
} ApiFormat;

typedef enum ApiBody {
    API_BODY_LIST,
    API_BODY_WATCH,
    API_BODY_OBJECT,
} ApiBody;

typedef enum ApiChange {
    API_LISTED, /* an item of a list, or the single object */
    API_ADDED,
    API_MODIFIED,
    API_DELETED,
} ApiChange;

/* Valid during the callback; strings are never NULL but `problem`. */
typedef struct ApiObject {
    Entity *entity;      /* NULL if the object is malformed or names no packets */
    const char *problem; /* what is malformed, with the object's name; else NULL */
    const char *resource_version, *namespace_name, *name;
    const char *controller_kind, *controller_name; /* its own, before any rule of names; or "" */
} ApiObject;

typedef struct ApiStatus {
    int code;
    const char *reason, *message;
    unsigned retry_after_s;
} ApiStatus;

/* `continue_token` "" is the last page. A bookmark has no object. A `status` ends the body. */
typedef struct ApiDecoderOps {
    void (*object)(ApiChange change, const ApiObject *object, void *userdata);
    void (*list)(const char *resource_version, const char *continue_token, void *userdata);
    void (*bookmark)(const char *resource_version, void *userdata);
    void (*status)(const ApiStatus *status, void *userdata);
} ApiDecoderOps;

typedef struct ApiDecoder ApiDecoder;

ApiDecoder *api_decoder_new(const ApiResource *resource, ApiBody body, ApiFormat format,
                            size_t limit_bytes, const ApiDecoderOps *ops, void *userdata);
ApiDecoder *api_decoder_free(ApiDecoder *decoder);
/* 0, or after an error always the same: -EBADMSG for what is no such body, -EMSGSIZE over a limit.
 * A malformed object within it is no error, but has its `problem`. */
int api_decoder_feed(ApiDecoder *decoder, const uint8_t *bytes, size_t length);
/* The body has ended: -EBADMSG if in the middle. */
int api_decoder_finish(ApiDecoder *decoder);
/* What the error was; "" without one. */
const char *api_decoder_error(const ApiDecoder *decoder);
/* Whether an object has begun and not ended yet. */
bool api_decoder_is_inside(const ApiDecoder *decoder);
