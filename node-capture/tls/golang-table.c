// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/golang-table.h"

#include <string.h>

#define MAGIC_BYTES   8
#define HEADER_BYTES  (MAGIC_BYTES + 8 * 8)
#define FUNCTIONS_MAX (UINT64_C(1) << 24)
/* runtime.moduledata, in pointers: where its minpc stands behind the pointer to the table (Go 1.16
 * to 1.27). */
#define MODULE_MINPC 20
#define MODULE_MAXPC 21

static bool read_number(const GoTable *table, uint64_t at, unsigned size, uint64_t *ret)
{
    if (at > table->range.length || size > table->range.length - at) {
        return false;
    }
    *ret = elf_get(table->range.bytes + at, size);
    return true;
}

static bool read_version(GoTable *table)
{
    const uint8_t *bytes = table->range.bytes;
    if (table->range.length < HEADER_BYTES || bytes[4] || bytes[5] || bytes[7] != 8 ||
        (bytes[6] != 1 && bytes[6] != 4)) {
        return false;
    }
    switch (elf_u32(bytes)) {
    case 0xfffffffb:
        table->version = GO_TABLE_1_2;
        return true;
    case 0xfffffffa:
        table->version = GO_TABLE_1_16;
        return true;
    case 0xfffffff0:
        table->version = GO_TABLE_1_18;
        return true;
    case 0xfffffff1:
        table->version = GO_TABLE_1_20;
        return true;
    default:
        return false;
    }
}

static bool has_short_entries(const GoTable *table)
{
    return table->version >= GO_TABLE_1_18;
}

/* Words of the header are counted from 0, behind the magic number. */
static bool read_header(GoTable *table)
{
    uint64_t word[8];
    for (unsigned i = 0; i < 8; i++) {
        word[i] = elf_u64(table->range.bytes + MAGIC_BYTES + i * 8);
    }
    table->pointer = 8;
    table->functions = word[0];
    if (table->version == GO_TABLE_1_2) {
        table->names = 0;
        table->entries = MAGIC_BYTES + 8;
        table->infos = 0;
    } else {
        bool is_short = has_short_entries(table);
        table->names = word[is_short ? 3 : 2];
        table->entries = word[is_short ? 7 : 6];
        table->infos = table->entries;
    }
    uint64_t entry = has_short_entries(table) ? 8 : 16;
    return table->functions && table->functions < FUNCTIONS_MAX &&
           table->names < table->range.length && table->entries < table->range.length &&
           table->functions <= (table->range.length - table->entries) / entry;
}

/* Entry and place of the description of a function. False: they are not there. */
static bool read_function(const GoTable *table, uint64_t i, uint64_t *ret_entry_at,
                          uint64_t *ret_info)
{
    unsigned size = has_short_entries(table) ? 4 : 8;
    *ret_entry_at = table->entries + i * 2 * size;
    uint64_t place;
    if (!read_number(table, *ret_entry_at + size, size, &place) || place > table->range.length) {
        return false;
    }
    *ret_info = table->infos + place;
    return *ret_info < table->range.length;
}

/* What the module's record at this address says: its first function less that one's entry. 0: it is
 * none. */
static uint64_t text_by_module(ElfImage *image, const GoTable *table, uint64_t at)
{
    uint64_t low, high, first;
    if (!elf_pointer(image, at + MODULE_MINPC * 8, &low) ||
        !elf_pointer(image, at + MODULE_MAXPC * 8, &high) ||
        !read_number(table, table->entries, 4, &first) || !elf_is_code(image, low) || low >= high) {
        return 0;
    }
    return low - first;
}

/* The record points to the table with its first word, by a relocation or without. */
static uint64_t search_module(ElfImage *image, const GoTable *table)
{
    uint64_t text = 0;
    for (size_t i = 0; !text && i < image->relocations.count && elf_work(image, 24); i++) {
        const uint8_t *entry = image->bytes + image->relocations.offset + i * 24;
        if (elf_u64(entry + 16) == table->range.address) {
            text = text_by_module(image, table, elf_u64(entry));
        }
    }
    for (unsigned load = 0; !text && load < image->n_loads; load++) {
        ElfRange range = elf_load_range(image, load);
        bool is_data = image->loads[load].flags & ELF_WRITE;
        for (size_t i = 0; !text && is_data && i + 8 <= range.length && elf_work(image, 8);
             i += 8) {
            if (elf_u64(range.bytes + i) == table->range.address) {
                text = text_by_module(image, table, range.address + i);
            }
        }
    }
    return text;
}

/* Programs that are moved and linked by another linker than Go's do not begin with Go's code, and
 * the header's word gets its value from a relocation, or (since 1.26) is no longer filled. */
static uint64_t find_text(ElfImage *image, const GoTable *table)
{
    uint64_t text = 0;
    if (elf_pointer(image, table->range.address + MAGIC_BYTES + 16, &text) && text) {
        return text;
    }
    text = search_module(image, table);
    return text ? text : elf_section(image, ".text").address;
}

static bool accept(ElfImage *image, ElfRange range, GoTable *ret)
{
    *ret = (GoTable){.range = range};
    if (!read_version(ret) || !read_header(ret)) {
        return false;
    }
    ret->text = has_short_entries(ret) ? find_text(image, ret) : 0;
    return true;
}

/* All magic numbers are one byte that differs, three of 0xff and two of zero. */
static bool search(ElfImage *image, ElfRange range, GoTable *ret)
{
    static const uint8_t rest[] = {0xff, 0xff, 0xff, 0, 0};
    const uint8_t *found;
    size_t from = 1;
    while (from < range.length) {
        ElfRange left = {range.bytes + from, range.length - from, 0};
        if (!(found = elf_search(image, left, rest, sizeof(rest)))) {
            return false;
        }
        size_t at = (size_t)(found - range.bytes) - 1;
        if ((range.address + at) % 8 == 0 &&
            accept(image, (ElfRange){range.bytes + at, range.length - at, range.address + at},
                   ret)) {
            return true;
        }
        from = at + 2;
    }
    return false;
}

bool golang_table_find(ElfImage *image, GoTable *ret)
{
    static const char *const sections[] = {".gopclntab", ".data.rel.ro.gopclntab"};
    for (unsigned i = 0; i < 2; i++) {
        ElfRange range = elf_section(image, sections[i]);
        if (range.length && accept(image, range, ret)) {
            return true;
        }
    }
    for (unsigned i = 0; i < image->n_loads; i++) {
        if (search(image, elf_load_range(image, i), ret)) {
            return true;
        }
    }
    return false;
}

static uint64_t entry_address(ElfImage *image, const GoTable *table, uint64_t entry_at)
{
    uint64_t entry = 0;
    if (has_short_entries(table)) {
        return read_number(table, entry_at, 4, &entry) && table->text ? table->text + entry : 0;
    }
    return elf_pointer(image, table->range.address + entry_at, &entry) ? entry : 0;
}

uint64_t golang_table_look_up(ElfImage *image, const GoTable *table, const char *name,
                              uint64_t *ret_end)
{
    ElfRange names = {table->range.bytes + table->names, table->range.length - table->names, 0};
    const uint8_t *found = names.bytes;
    size_t length = strlen(name) + 1;
    /* As a whole: what ends like it is not it. */
    do {
        names.length -= (size_t)(found - names.bytes);
        names.bytes = found;
        found = elf_search(image, names, name, length);
    } while (found && found > table->range.bytes && found[-1] != 0 && found++);
    if (!found) {
        return 0;
    }
    uint64_t wanted = (uint64_t)(found - table->range.bytes) - table->names;
    unsigned entry_size = has_short_entries(table) ? 4 : 8;
    for (uint64_t i = 0; i < table->functions && elf_work(image, 24); i++) {
        uint64_t entry_at, info, offset;
        if (read_function(table, i, &entry_at, &info) &&
            read_number(table, info + entry_size, 4, &offset) && offset == wanted) {
            if (ret_end) { /* behind the last one stands the end of all */
                *ret_end = entry_address(image, table, entry_at + 2 * entry_size);
            }
            return entry_address(image, table, entry_at);
        }
    }
    return 0;
}
