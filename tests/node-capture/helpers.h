// SPDX-License-Identifier: GPL-2.0-or-later
/* Entities and batches for the tests of this folder. */
#pragma once

#include "k8s-enrich/inventory.h"
#include "node-capture/source/source.h"

#define TEST_NS 1700000000000000000u /* where the tests' time begins */

/* A pod on node "n1" with uid "uid-NAME"; labels are "key", "value" pairs up to NULL, or NULL. */
Entity *test_pod(const char *namespace_name, const char *name, const char *const *labels);

/* `count` packets of `size` bytes each, time stamps first_ns, first_ns + 1, ... Byte 0 of each is
 * `mark`, bytes 4 to 7 its number from `first_number` on, in host order. */
Batch *test_batch(uint32_t interface_id, uint64_t first_ns, uint32_t first_number, uint32_t count,
                  uint32_t size, uint8_t mark);
