// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/block-array.h"

#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#define UNITS_MIN 64u
#define HUGE_PAGE (2u * 1024u * 1024u)

void *block_memory_new(size_t bytes, void **ret_memory)
{
    size_t alignment = bytes < HUGE_PAGE ? BLOCK_UNIT : HUGE_PAGE;
    *ret_memory = g_malloc(bytes + alignment - 1);
    char *begin = (char *)(((uintptr_t)*ret_memory + alignment - 1) / alignment * alignment);
#ifdef MADV_HUGEPAGE
    /* A refusal costs time, no more. What is never touched takes no memory either way. */
    if (bytes >= HUGE_PAGE)
        (void)madvise(begin, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
#endif
    return begin;
}

/* Twice as large, or as large as it must be. */
static void grow(BlockArray *array, uint32_t n_units)
{
    uint64_t wanted = MAX((uint64_t)array->n_allocated * 2, UNITS_MIN);
    wanted = MAX(wanted, (uint64_t)array->n_units + n_units);
    if (wanted > UINT32_MAX) /* 256 GiB */
        g_error("too many addresses");
    void *memory;
    char *blocks = block_memory_new((size_t)wanted * BLOCK_UNIT, &memory);
    if (array->n_units)
        memcpy(blocks, array->blocks, (size_t)array->n_units * BLOCK_UNIT);
    g_free(array->memory);
    array->blocks = blocks;
    array->memory = memory;
    array->n_allocated = (uint32_t)wanted;
}

uint32_t block_array_new(BlockArray *array, unsigned size)
{
    if (array->free[size]) {
        uint32_t number = array->free[size] - 1;
        memcpy(&array->free[size], block_array_at(array, number), sizeof array->free[size]);
        return number;
    }
    uint32_t n_units = 1u << size, number = array->n_units;
    if (n_units > array->n_allocated - array->n_units)
        grow(array, n_units);
    array->n_units += n_units;
    return number;
}

void block_array_free(BlockArray *array, uint32_t number, unsigned size)
{
    memcpy(block_array_at(array, number), &array->free[size], sizeof array->free[size]);
    array->free[size] = number + 1;
}

void block_array_clear(BlockArray *array)
{
    g_free(array->memory);
    *array = (BlockArray){0};
}
