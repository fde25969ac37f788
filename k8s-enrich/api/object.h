// SPDX-License-Identifier: GPL-2.0-or-later
/* Single objects of the API made into what the watch wants to know of them. */
#pragma once

#include <jansson.h>

#include "k8s-enrich/api/arena.h"
#include "k8s-enrich/api/decode.h"
#include "k8s-enrich/entity-draft.h"

/* Holds what an ApiObject borrows from, until the next. */
typedef struct ObjectReader {
    const ApiResource *resource;
    Arena *arena;
    EntityDraft draft;
    OwnerTable *no_owners;
    Entity *entity;
    char *problem;
} ObjectReader;

void object_reader_init(ObjectReader *reader, const ApiResource *resource);
void object_reader_clear(ObjectReader *reader);
/* For both: *ret is valid until the next call. */
void object_from_protobuf(ObjectReader *reader, const uint8_t *bytes, size_t length,
                          ApiObject *ret);
void object_from_json(ObjectReader *reader, const json_t *json, ApiObject *ret);

/* Takes a finished draft's entity or problem over into the object. */
void object_finish_draft(ObjectReader *reader, ApiObject *ret);
void object_set_problem(ObjectReader *reader, ApiObject *ret, const char *problem);
