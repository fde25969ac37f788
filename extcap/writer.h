// SPDX-License-Identifier: GPL-2.0-or-later
/* Where the capture goes: a file, standard output, or the fifo that Wireshark reads.
 *
 * Blocks are written whole. A file that cannot take more ends behind its last whole block. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "collector/collector.h"

typedef struct Writer Writer;

/* `path` "-" is standard output, refused when that is a terminal. A file is replaced
 * when the first bytes are written; until then it is as it was, and one that was not there goes
 * again. Opening a fifo waits for its reader. `packet_limit` 0: none. */
Writer *writer_open(const char *path, uint64_t packet_limit, GError **error);

/* pcapng bytes, little endian, whole blocks. 0, or -errno: -EPIPE when the reader is gone. Packets
 * beyond the limit are left out. */
int writer_write(Writer *writer, const uint8_t *bytes, size_t length);

/* The same in pieces, which may begin and end anywhere in a block. */
int writer_write_pieces(Writer *writer, const CollectorBytes *pieces, size_t n_pieces);

/* From any thread: whether as many packets as the limit allows were written. */
bool writer_full(const Writer *writer);
/* From any thread: whether the reader of the fifo or pipe has gone, which a writer with nothing to
 * write would not notice. */
bool writer_abandoned(const Writer *writer);
/* Bytes that were written, in whole blocks. */
uint64_t writer_bytes(const Writer *writer);
const char *writer_name(const Writer *writer); /* path, or "standard output" */

/* Closes. false with the error of the first write that failed, -EPIPE excepted, or of closing.
 * Frees in any case. */
bool writer_close(Writer *writer, GError **error);
