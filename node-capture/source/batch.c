// SPDX-License-Identifier: GPL-2.0-or-later
/* Batches come in a few sizes, and each size has a list of free ones. The sizes matter to whoever
 * queues batches: a pod that sends one packet now and then must not hold 256 kB for each. */
#include "node-capture/source/source.h"

#include <glib.h>

#define SMALLEST 4096u
#define CLASSES  7 /* 4 kB ... 256 kB of data */
/* Free batches kept of each size; beyond it they go back to the allocator. */
#define FREE_MAX 32u

G_STATIC_ASSERT(SMALLEST << (CLASSES - 1) == BATCH_BYTES);

typedef struct FreeList {
    GMutex lock;
    Batch *batches[FREE_MAX];
    unsigned count;
} FreeList;

static FreeList free_lists[CLASSES];

/* The size a capacity is served from; CLASSES if none is large enough. */
static unsigned class_of(size_t capacity)
{
    unsigned class = 0;
    while (class < CLASSES && ((size_t)SMALLEST << class) < capacity)
        class ++;
    return class;
}

static Batch *take_free(FreeList *list)
{
    g_mutex_lock(&list->lock);
    Batch *batch = list->count ? list->batches[--list->count] : NULL;
    g_mutex_unlock(&list->lock);
    return batch;
}

static bool keep_free(FreeList *list, Batch *batch)
{
    g_mutex_lock(&list->lock);
    bool kept = list->count < FREE_MAX;
    if (kept)
        list->batches[list->count++] = batch;
    g_mutex_unlock(&list->lock);
    return kept;
}

Batch *batch_new(size_t capacity)
{
    unsigned class = class_of(capacity);
    Batch *batch = NULL;
    if (class < CLASSES) {
        capacity = (size_t)SMALLEST << class;
        batch = take_free(&free_lists[class]);
    }
    if (!batch)
        batch = g_malloc(sizeof *batch + capacity);
    *batch = (Batch){.refs = 1, .first_ns = UINT64_MAX, .capacity = capacity};
    return batch;
}

Batch *batch_ref(Batch *batch)
{
    g_atomic_int_inc(&batch->refs);
    return batch;
}

void batch_unref(Batch *batch)
{
    if (!batch || !g_atomic_int_dec_and_test(&batch->refs))
        return;
    unsigned class = class_of(batch->capacity);
    if (class == CLASSES || !keep_free(&free_lists[class], batch))
        g_free(batch);
}
