// SPDX-License-Identifier: GPL-2.0-or-later
/* Blocks of 64 bytes times powers of two in one array, each at a cache line, called by number: for
 * what is looked up in no order, where every line that is not in the caches counts. The array moves
 * when it grows; a large one asks for huge pages, as much of the time goes to page tables (in a
 * virtual machine there are two sets of them). */
#pragma once

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK_UNIT 64u /* a cache line */

/* Memory for such things: not cleared, and to be freed by *ret_memory (g_free). */
void *block_memory_new(size_t bytes, void **ret_memory);

/* All zero is an empty array. */
typedef struct BlockArray {
    char *blocks;
    void *memory;
    uint32_t n_units, n_allocated;
    uint32_t free[32]; /* by size: a block that is free, plus 1; it holds the next such number */
} BlockArray;

/* The number of a block of 64 << size bytes, not cleared. Pointers into other blocks end here. */
uint32_t block_array_new(BlockArray *array, unsigned size);
void block_array_free(BlockArray *array, uint32_t number, unsigned size);
void block_array_clear(BlockArray *array);

static inline void *block_array_at(const BlockArray *array, uint32_t number)
{
    return array->blocks + (size_t)number * BLOCK_UNIT;
}
