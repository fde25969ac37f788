// SPDX-License-Identifier: GPL-2.0-or-later
/* Text in columns. */
#pragma once

#include <glib.h>

typedef struct Table Table;

/* Titles until NULL; one that begins with '>' is of a column of numbers, which end at its right. */
Table *table_new(const char *title, ...) G_GNUC_NULL_TERMINATED;
/* The next cell; rows are full when they have as many as there are titles. The table takes the
 * text. */
void table_add(Table *table, char *text);
/* To standard output; frees the table. */
void table_print(Table *table);
