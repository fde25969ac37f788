// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/record.h"

#include <string.h>

#include "common/seeded-hash.h"

const Entity *const *record_versions(const Record *record)
{
    return record->n_versions > 1 ? record->several : &record->only;
}

const Entity *record_newest(const Record *record)
{
    return record->n_versions > 0 ? record_versions(record)[0] : NULL;
}

const Entity *record_oldest(const Record *record)
{
    return record->n_versions > 0 ? record_versions(record)[record->n_versions - 1] : NULL;
}

const Entity *record_at(const Record *record, uint64_t time_ns)
{
    const Entity *const *versions = record_versions(record);
    for (uint32_t i = 0; i < record->n_versions; i++)
        if (versions[i]->from_ns <= time_ns)
            return versions[i]->to_ns == 0 || versions[i]->to_ns > time_ns ? versions[i] : NULL;
    return NULL;
}

Record *record_new(void)
{
    return g_slice_new0(Record); /* slices have no overhead */
}

static void record_free(gpointer data)
{
    Record *record = data;
    const Entity *const *versions = record_versions(record);
    for (uint32_t i = 0; i < record->n_versions; i++)
        entity_unref(versions[i]);
    if (record->n_versions > 1)
        g_free(record->several);
    g_slice_free(Record, record);
}

/* For one more than there are. */
static const Entity **make_room(Record *record)
{
    if (record->n_versions == 1) {
        const Entity **several = g_new(const Entity *, 2);
        several[0] = record->only;
        record->several = several;
        record->n_allocated = 2;
    } else if (record->n_versions == record->n_allocated) {
        record->n_allocated *= 2;
        record->several = g_renew(const Entity *, record->several, record->n_allocated);
    }
    return record->several;
}

void record_insert(Record *record, const Entity *entity)
{
    if (record->n_versions == 0) {
        record->only = entity;
        record->n_versions = 1;
        return;
    }
    const Entity **versions = make_room(record);
    uint32_t at = 0;
    while (at < record->n_versions && versions[at]->from_ns > entity->from_ns)
        at++;
    memmove(&versions[at + 1], &versions[at], (record->n_versions - at) * sizeof *versions);
    versions[at] = entity;
    record->n_versions++;
}

static void remove_of_several(Record *record, const Entity *entity)
{
    const Entity **versions = record->several;
    uint32_t at = 0;
    while (versions[at] != entity)
        at++;
    record->n_versions--;
    memmove(&versions[at], &versions[at + 1], (record->n_versions - at) * sizeof *versions);
    if (record->n_versions == 1) {
        record->only = versions[0];
        g_free(versions);
    }
}

void record_remove(Record *record, const Entity *entity)
{
    if (record->n_versions > 1) {
        remove_of_several(record, entity);
    } else {
        record->key = entity->key;
        record->n_versions = 0;
    }
    entity_unref(entity);
}

/* ---- The set ---------------------------------------------------------------------------------*/

static uint64_t key_of(const Record *record)
{
    return record->n_versions > 0 ? record_newest(record)->key : record->key;
}

static guint record_hash(gconstpointer data)
{
    uint64_t key = key_of(data); /* is what a node likes it to be */
    return seeded_hash(&key, sizeof key);
}

static gboolean record_equal(gconstpointer data_a, gconstpointer data_b)
{
    const Record *a = data_a, *b = data_b;
    const Entity *of_a = record_newest(a), *of_b = record_newest(b);
    if (a == b || !of_a || !of_b)
        return a == b;
    return of_a->key == of_b->key && of_a->kind == of_b->kind && g_str_equal(of_a->uid, of_b->uid);
}

GHashTable *records_new(void)
{
    return g_hash_table_new_full(record_hash, record_equal, record_free, NULL);
}

Record *records_find(GHashTable *records, EntityKind kind, const char *uid)
{
    const Entity entity = {.kind = kind, .uid = uid, .key = entity_key(kind, uid)};
    const Record probe = {.only = &entity, .n_versions = 1};
    return g_hash_table_lookup(records, &probe);
}
