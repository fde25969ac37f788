// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/api/object.h"

/* What the largest object (16 MiB) may take when unpacked. */
#define UNPACKED_MAX (64u * 1024u * 1024u)

void object_reader_init(ObjectReader *reader, const ApiResource *resource)
{
    *reader = (ObjectReader){
        .resource = resource,
        .arena = arena_new(UNPACKED_MAX),
        .no_owners = owner_table_new(),
    };
    entity_draft_init(&reader->draft);
}

void object_reader_clear(ObjectReader *reader)
{
    arena_free(reader->arena);
    g_hash_table_unref(reader->no_owners);
    entity_draft_clear(&reader->draft);
    entity_unref(reader->entity);
    g_free(reader->problem);
}

void object_set_problem(ObjectReader *reader, ApiObject *ret, const char *problem)
{
    g_free(reader->problem);
    reader->problem = g_strdup_printf("%s %s%s%s: %s", reader->resource->kind, ret->namespace_name,
                                      *ret->namespace_name ? "/" : "",
                                      *ret->name ? ret->name : "without a name", problem);
    ret->problem = reader->problem;
}

void object_finish_draft(ObjectReader *reader, ApiObject *ret)
{
    entity_unref(reader->entity);
    reader->entity = ret->entity = entity_draft_finish(&reader->draft);
    if (!ret->entity)
        object_set_problem(reader, ret, reader->draft.problem);
}
