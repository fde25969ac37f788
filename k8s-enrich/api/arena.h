// SPDX-License-Identifier: GPL-2.0-or-later
/* Memory for unpacked protobuf-c messages: bounded, and given back all at once. The
 * fields of an object that are skipped are copied by protobuf-c as well; so a copy must cost next
 * to nothing. Nothing is given back while unpacking, because merging repeated submessages would
 * cost quadratic time in memory that is freed again. */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Arena Arena;

Arena *arena_new(size_t limit_bytes);
Arena *arena_free(Arena *arena);
/* All messages are gone; the memory stays for the next. */
void arena_reset(Arena *arena);
/* NULL for bytes that are no such message, or that would take more memory than is left of the
 * limit. The message is valid until arena_reset(). */
ProtobufCMessage *arena_unpack(Arena *arena, const ProtobufCMessageDescriptor *type,
                               const uint8_t *bytes, size_t length);
