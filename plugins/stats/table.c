// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugins/stats/table.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

struct Table {
    GPtrArray *cells; /* the titles are the first row */
    GArray *is_number;
};

Table *table_new(const char *title, ...)
{
    Table *table = g_new(Table, 1);
    va_list titles;

    table->cells = g_ptr_array_new_with_free_func(g_free);
    table->is_number = g_array_new(FALSE, FALSE, sizeof(bool));
    va_start(titles, title);
    for (; title; title = va_arg(titles, const char *)) {
        bool is_number = *title == '>';

        g_array_append_val(table->is_number, is_number);
        table_add(table, g_strdup(title + is_number));
    }
    va_end(titles);
    return table;
}

void table_add(Table *table, char *text)
{
    g_ptr_array_add(table->cells, text);
}

static int width_of(const char *text)
{
    long length = g_utf8_strlen(text, -1);

    return (int)MIN(length, 1000);
}

void table_print(Table *table)
{
    unsigned columns = table->is_number->len;
    g_autofree int *widths = g_new0(int, columns);

    for (unsigned i = 0; i < table->cells->len; i++) {
        int width = width_of(table->cells->pdata[i]);

        widths[i % columns] = MAX(widths[i % columns], width);
    }
    for (unsigned i = 0; i < table->cells->len; i++) {
        const char *text = table->cells->pdata[i];
        int gap = widths[i % columns] - width_of(text);
        bool is_last = i % columns == columns - 1;

        if (g_array_index(table->is_number, bool, i % columns))
            printf("%*s%s%s", gap, "", text, is_last ? "\n" : "  ");
        else
            printf("%s%*s%s", text, is_last ? 0 : gap, "", is_last ? "\n" : "  ");
    }
    g_ptr_array_unref(table->cells);
    g_array_unref(table->is_number);
    g_free(table);
}
