// SPDX-License-Identifier: GPL-2.0-or-later
/* Tables for people, on standard output: rows of cells as they were added; a column is as wide as
 * its widest cell, and numbers stand to the right. */
#pragma once

#include <glib.h>
#include <stdint.h>

typedef struct Table {
    GPtrArray *cells; /* of char * */
    unsigned columns;
    const char *right; /* per column: 'r' or 'l' */
} Table;

void table_init(Table *table, const char *alignment); /* borrowed */
/* Names come from the network: none of them may move the terminal's cursor. */
void table_add(Table *table, const char *text);
void table_add_number(Table *table, uint64_t number);
void table_print(Table *table); /* and frees */
