// SPDX-License-Identifier: GPL-2.0-or-later
/* What inventory.h does not tell the world of entities. */
#pragma once

#include "k8s-enrich/inventory.h"

/* The same but for from_ns and to_ns. */
bool entity_same(const Entity *a, const Entity *b);
/* `entity` with another interval: itself with one more reference where that is its own already. */
Entity *entity_with_interval(const Entity *entity, uint64_t from_ns, uint64_t to_ns);
