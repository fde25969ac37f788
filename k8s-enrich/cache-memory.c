// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/cache-memory.h"

#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#define HUGE_PAGE       (2u * 1024u * 1024u)
#define CHUNK_MIN_BYTES (16u * 1024u)

typedef struct FreeBlock {
    struct FreeBlock *next;
} FreeBlock;

void *cache_memory_new(size_t bytes)
{
    if (bytes < HUGE_PAGE)
        return g_aligned_alloc(1, bytes, CACHE_LINE);
    void *memory = g_aligned_alloc(1, bytes, HUGE_PAGE);
#ifdef MADV_HUGEPAGE
    /* Whole ones only: a rest that is never touched takes no memory. A refusal costs time, no
     * more. */
    (void)madvise(memory, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
    return memory;
}

void cache_memory_free(void *memory)
{
    g_aligned_free(memory);
}

static unsigned class_of(size_t bytes)
{
    unsigned class = 0;
    while (((size_t)CACHE_LINE << class) < bytes)
        class ++;
    return class;
}

size_t block_pool_size(size_t bytes)
{
    return (size_t)CACHE_LINE << class_of(bytes);
}

static void add_chunk(BlockPool *pool, size_t bytes)
{
    if (!pool->chunks)
        pool->chunks = g_ptr_array_new_with_free_func(cache_memory_free);
    /* As large as all before together, up to a huge page. */
    size_t size = CHUNK_MIN_BYTES << MIN(pool->chunks->len, 7u);
    size = MAX(size, bytes);
    pool->at = cache_memory_new(size);
    pool->end = pool->at + size;
    g_ptr_array_add(pool->chunks, pool->at);
}

void *block_pool_new(BlockPool *pool, size_t bytes)
{
    unsigned class = class_of(bytes);
    size_t size = (size_t)CACHE_LINE << class;
    if (class >= G_N_ELEMENTS(pool->free))
        return cache_memory_new(size);
    FreeBlock *block = pool->free[class];
    if (block) {
        pool->free[class] = block->next;
        return block;
    }
    /* What is left of a chunk then is given up: less than one block of each that it could hold. */
    if ((size_t)(pool->end - pool->at) < size)
        add_chunk(pool, size);
    char *fresh = pool->at;
    pool->at += size;
    return fresh;
}

void block_pool_free(BlockPool *pool, void *memory, size_t bytes)
{
    unsigned class = class_of(bytes);
    if (class >= G_N_ELEMENTS(pool->free)) {
        cache_memory_free(memory);
        return;
    }
    FreeBlock *block = memory;
    block->next = pool->free[class];
    pool->free[class] = block;
}

void block_pool_clear(BlockPool *pool)
{
    if (pool->chunks)
        g_ptr_array_unref(pool->chunks);
    *pool = (BlockPool){0};
}
