// SPDX-License-Identifier: GPL-2.0-or-later
/* A capture file in and another one out, a block or record at a time: what the commands share that
 * read one file and write it anew. Memory does not grow with the file. One thread. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/pcapng/pcapng.h"

typedef struct FileCopy {
    const char *in_path, *out_path;
    FILE *in, *out;
    uint8_t *buffer; /* what was read ahead */
    size_t start, end, capacity;
    uint64_t offset; /* in the file, of buffer[start] */
    GError *error;   /* of what failed first; file_copy_close() hands it on */
} FileCopy;

typedef struct FileForm {
    bool is_pcap; /* classic pcap; else pcapng, of which the rest says nothing */
    bool swapped; /* big endian */
    bool nanoseconds;
} FileForm;

/* Opens both paths; "-" is standard input or output. Cuts a file that is there, but not if it is
 * the input. Paths are borrowed. On false the error is kept; close in either case. */
bool file_copy_open(FileCopy *copy, const char *in_path, const char *out_path);
/* Flushes also after a failure (`ok` false): what came before it is to be kept. Returns whether all
 * went well; else *error is set. */
bool file_copy_close(FileCopy *copy, bool ok, GError **error);

/* These keep an error (COLLECTOR_ERROR) and return false, so that a caller can return at once. */
bool file_copy_fail(FileCopy *copy, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool file_copy_write(FileCopy *copy, const void *data, size_t length);
/* What the file is, by its first bytes, which are not consumed. */
bool file_copy_form(FileCopy *copy, FileForm *ret);
/* For an input that has fewer than the `expected` bytes of `what`: true at the end of the file,
 * which is right only between two records. */
bool file_copy_at_end(FileCopy *copy, const char *what, uint64_t expected);

/* The bytes read ahead; valid until the next call that reads or seeks. */
const uint8_t *file_copy_bytes(const FileCopy *copy);
size_t file_copy_available(const FileCopy *copy);
/* Reads until so many bytes are there; fewer at the end of the file. */
void file_copy_fill(FileCopy *copy, size_t wanted);
void file_copy_advance(FileCopy *copy, size_t length);

/* The next block, consumed. Returns 1, 0 at the end of the file, -1 with an error kept. */
int file_copy_block(FileCopy *copy, PcapngReader *reader, PcapngBlock *ret);

/* Makes file_copy_seek() possible: an input that is no regular file, such as a pipe, is read to its
 * end into a temporary file without a name. */
bool file_copy_seekable(FileCopy *copy);
bool file_copy_seek(FileCopy *copy, uint64_t offset);
