// SPDX-License-Identifier: GPL-2.0-or-later
/* The memory of entities. */
#pragma once

#include "k8s-enrich/inventory.h"

/* A copy of a draft that has been checked, with its key and one reference; entity_unref(). */
Entity *entity_pack(const Entity *draft);
