// SPDX-License-Identifier: GPL-2.0-or-later
/* What is known of one uid over time. */
#pragma once

#include <glib.h>

#include "k8s-enrich/inventory.h"

/* All versions of one uid, the one that began latest first, never two at a time. Owns a reference
 * to each; kind and uid are theirs. Only while it is being changed, or to be taken out, it has
 * none. Most have one. */
typedef struct Record {
    union {
        uint64_t key;           /* of none: the last one's */
        const Entity *only;     /* of one */
        const Entity **several; /* of more */
    };
    uint32_t n_versions, n_allocated; /* of several */
} Record;

/* A set of records, freed with them. */
GHashTable *records_new(void);
/* NULL: nothing is known. */
Record *records_find(GHashTable *records, EntityKind kind, const char *uid);

Record *record_new(void);
/* Takes over the caller's reference. */
void record_insert(Record *record, const Entity *entity);
/* One that it has; gives the reference back. */
void record_remove(Record *record, const Entity *entity);
/* n_versions of them; until the record changes. */
const Entity *const *record_versions(const Record *record);
const Entity *record_newest(const Record *record); /* NULL: none */
const Entity *record_oldest(const Record *record); /* NULL: none */
/* The version that was valid then, or NULL. */
const Entity *record_at(const Record *record, uint64_t time_ns);
