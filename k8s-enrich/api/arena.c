// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/api/arena.h"

#include <glib.h>
#include <stdbool.h>
#include <stdlib.h>

#define CHUNK_BYTES (256u * 1024u)

typedef struct Chunk {
    struct Chunk *next;
    size_t size;
    max_align_t bytes[];
} Chunk;

struct Arena {
    ProtobufCAllocator allocator;
    Chunk *chunks; /* the newest first; the first that was made stays for good */
    size_t used;   /* of the newest */
    size_t total, limit;
};

static bool add_chunk(Arena *arena, size_t size)
{
    if (size > arena->limit || arena->total > arena->limit - size)
        return false;
    Chunk *chunk = malloc(sizeof *chunk + size);
    if (!chunk)
        return false;
    *chunk = (Chunk){.next = arena->chunks, .size = size};
    arena->chunks = chunk;
    arena->used = 0;
    arena->total += size;
    return true;
}

static void *arena_alloc(void *data, size_t size)
{
    Arena *arena = data;
    if (size > arena->limit)
        return NULL;
    size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    if (size > arena->chunks->size - arena->used && !add_chunk(arena, MAX(size, CHUNK_BYTES)))
        return NULL;
    void *memory = (uint8_t *)arena->chunks->bytes + arena->used;
    arena->used += size;
    return memory;
}

static void arena_ignore(void *data, void *memory)
{
}

Arena *arena_new(size_t limit_bytes)
{
    Arena *arena = g_new0(Arena, 1);
    arena->allocator = (ProtobufCAllocator){arena_alloc, arena_ignore, arena};
    arena->limit = MAX(limit_bytes, CHUNK_BYTES);
    if (!add_chunk(arena, CHUNK_BYTES))
        g_error("out of memory");
    return arena;
}

void arena_reset(Arena *arena)
{
    while (arena->chunks->next) {
        Chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        arena->total -= chunk->size;
        free(chunk);
    }
    arena->used = 0;
}

Arena *arena_free(Arena *arena)
{
    if (!arena)
        return NULL;
    arena_reset(arena);
    free(arena->chunks);
    g_free(arena);
    return NULL;
}

ProtobufCMessage *arena_unpack(Arena *arena, const ProtobufCMessageDescriptor *type,
                               const uint8_t *bytes, size_t length)
{
    return protobuf_c_message_unpack(type, &arena->allocator, length, bytes);
}
