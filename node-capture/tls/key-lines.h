// SPDX-License-Identifier: GPL-2.0-or-later
/* Secrets as lines of a key log, each once for a network namespace: a function may be entered
 * several times for one secret (Go's stacks grow, a file is hooked through two mounts). No I/O, no
 * clock. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node-capture/tls/keys.h"

#define KEY_LINES_REMEMBERED 65536u /* lines that are known again */
#define KEY_LINES_RANDOM     32u
#define KEY_LINES_SECRET_MAX 64u
#define KEY_LINES_LABEL_MAX  40u

typedef struct KeyLines KeyLines;

typedef void (*KeyLinesCallback)(uint64_t netns_inode, uint64_t time_ns, const char *lines,
                                 size_t length, void *userdata);

KeyLines *key_lines_new(KeyLinesCallback callback, void *userdata);
KeyLines *key_lines_free(KeyLines *lines); /* tells nothing more; NULL is fine; returns NULL */

/* Lines of one namespace are told together, by key_lines_flush() at the latest. Returns false, and
 * tells nothing, for what is known already or can be no line: labels have capitals, digits and
 * underscores. */
bool key_lines_add(KeyLines *lines, uint64_t netns_inode, uint64_t time_ns, const char *label,
                   size_t label_length, const uint8_t random[static KEY_LINES_RANDOM],
                   const uint8_t *secret, size_t secret_length);
void key_lines_flush(KeyLines *lines);
