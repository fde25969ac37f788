// SPDX-License-Identifier: GPL-2.0-or-later
#include "extcap/table.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

void table_init(Table *table, const char *alignment)
{
    table->cells = g_ptr_array_new_with_free_func(g_free);
    table->columns = (unsigned)strlen(alignment);
    table->right = alignment;
}

void table_add(Table *table, const char *text)
{
    char *cell = g_utf8_make_valid(text && *text ? text : "-", -1);
    for (char *c = cell; *c; c++) {
        if (g_ascii_iscntrl(*c))
            *c = '?';
    }
    g_ptr_array_add(table->cells, cell);
}

void table_add_number(Table *table, uint64_t number)
{
    g_ptr_array_add(table->cells, g_strdup_printf("%" G_GUINT64_FORMAT, number));
}

void table_print(Table *table)
{
    g_autofree glong *widths = g_new0(glong, table->columns);
    for (guint i = 0; i < table->cells->len; i++) {
        glong width = g_utf8_strlen(table->cells->pdata[i], -1);
        widths[i % table->columns] = MAX(widths[i % table->columns], width);
    }
    for (guint i = 0; i < table->cells->len; i++) {
        unsigned column = i % table->columns;
        const char *cell = table->cells->pdata[i];
        int padding = (int)(widths[column] - g_utf8_strlen(cell, -1));
        bool last = column + 1 == table->columns;
        if (table->right[column] == 'r')
            printf("%*s%s", padding, "", cell);
        else
            printf("%s%*s", cell, last ? 0 : padding, "");
        fputs(last ? "\n" : "  ", stdout);
    }
    g_ptr_array_unref(table->cells);
}
