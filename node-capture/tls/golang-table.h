// SPDX-License-Identifier: GPL-2.0-or-later
/* .gopclntab: which function begins where. Source: Go's src/debug/gosym/pclntab.go and
 * src/runtime/symtab.go. */
#pragma once

#include "node-capture/tls/elf-image.h"

typedef enum GoTableVersion {
    GO_TABLE_1_2,
    GO_TABLE_1_16,
    GO_TABLE_1_18,
    GO_TABLE_1_20
} GoTableVersion;

typedef struct GoTable {
    ElfRange range; /* from its magic number on */
    GoTableVersion version;
    unsigned pointer; /* bytes */
    uint64_t functions;
    uint64_t text;                  /* since 1.18: what entries are counted from */
    uint64_t names, entries, infos; /* places in the range */
} GoTable;

/* By its section, or by its magic number where there are no sections. */
bool golang_table_find(ElfImage *image, GoTable *ret);
/* The address of the function of that name; 0: none. *ret_end, which may be NULL: where the next
 * one begins, or 0. */
uint64_t golang_table_look_up(ElfImage *image, const GoTable *table, const char *name,
                              uint64_t *ret_end);
