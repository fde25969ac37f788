// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory for what is looked up in no order: it begins at a cache line, and what is large asks for
 * huge pages, for half of a look-up in cold memory goes to the page tables (in a virtual machine
 * there are two sets of them). And a pool of small blocks of it. */
#pragma once

#include <glib.h>
#include <stddef.h>

#define CACHE_LINE 64u

/* Not cleared. Never NULL. */
void *cache_memory_new(size_t bytes);
void cache_memory_free(void *memory); /* NULL is fine */

/* Blocks of 64 bytes times powers of two, each within as few lines as it can be. All zero is an
 * empty pool. For one thread. */
typedef struct BlockPool {
    struct FreeBlock *free[8]; /* by size */
    GPtrArray *chunks;
    char *at, *end; /* of the newest chunk what was never given out */
} BlockPool;

/* The size of the block that holds `bytes`. */
size_t block_pool_size(size_t bytes);
void *block_pool_new(BlockPool *pool, size_t bytes);
void block_pool_free(BlockPool *pool, void *block, size_t bytes);
/* Frees the memory of all blocks. */
void block_pool_clear(BlockPool *pool);
