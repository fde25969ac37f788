// SPDX-License-Identifier: GPL-2.0-or-later
/* An Entity under construction, whatever form the object has that it is read from. */
#pragma once

#include <glib.h>

#include "k8s-enrich/inventory-owner.h"
#include "k8s-enrich/inventory.h"

/* Arrays that grow; the strings of `entity` and of the arrays' elements are borrowed from the
 * object. */
typedef struct EntityDraft {
    Entity entity;
    GArray *labels, *containers, *ports, *addresses, *endpoints;
    GArray *endpoint_addresses; /* of all endpoints, in order */
    Owner owner;
    char *problem; /* the first thing that is wrong with the object, or NULL */
} EntityDraft;

void entity_draft_init(EntityDraft *draft);
void entity_draft_clear(EntityDraft *draft);
/* Empties it for the next entity and keeps the memory. */
void entity_draft_reset(EntityDraft *draft);
/* NULL with draft->problem set for what cannot be an entity. */
Entity *entity_draft_finish(EntityDraft *draft);

/* Adds an address unless it is empty or there already; `parent` and `key` name it in the problem.
 */
void entity_draft_address(EntityDraft *draft, const char *text, const char *parent,
                          const char *key);
/* Takes `owner` over. */
void entity_draft_owner(EntityDraft *draft, Owner owner);
/* The pod finished at `end_ns`; 0: nobody knows when, and then better no address than a wrong one.
 */
void entity_draft_end(EntityDraft *draft, uint64_t end_ns);
/* The runtime's id of a container, without the runtime's name in front ("containerd://"). */
const char *container_id_bare(const char *id);
