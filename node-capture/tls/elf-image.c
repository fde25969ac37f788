// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/elf-image.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#define WORK_PER_BYTE 12        /* searches over the whole file, about; what is found takes four */
#define WORK_AT_LEAST (8 << 20) /* for small files: walks along the code */
#define DYNAMIC_MAX   512       /* entries */
#define NOTES_MAX     64

/* `count` entries of `size` bytes at `offset`: are they in the file? */
static bool fits(const ElfImage *image, uint64_t offset, uint64_t count, uint64_t size)
{
    return offset <= image->length && count <= (image->length - offset) / size;
}

bool elf_work(ElfImage *image, uint64_t bytes)
{
    uint64_t left = image->work_limit - image->work;
    image->work += bytes < left ? bytes : left;
    return !elf_exhausted(image);
}

/* ---- Addresses ------------------------------------------------------------------------------ */

static const ElfLoad *load_of(const ElfImage *image, uint64_t address)
{
    for (unsigned i = 0; i < image->n_loads; i++) {
        const ElfLoad *load = &image->loads[i];
        if (address >= load->address && address - load->address < load->length) {
            return load;
        }
    }
    return NULL;
}

ElfRange elf_load_range(const ElfImage *image, unsigned i)
{
    const ElfLoad *load = &image->loads[i];
    return (ElfRange){image->bytes + load->offset, load->length, load->address};
}

ElfRange elf_at(const ElfImage *image, uint64_t address)
{
    const ElfLoad *load = load_of(image, address);
    if (!load) {
        return (ElfRange){.address = address};
    }
    size_t skip = (size_t)(address - load->address);
    return (ElfRange){image->bytes + load->offset + skip, load->length - skip, address};
}

const uint8_t *elf_bytes_at(const ElfImage *image, uint64_t address, size_t length)
{
    ElfRange range = elf_at(image, address);
    return range.length >= length ? range.bytes : NULL;
}

bool elf_offset(const ElfImage *image, uint64_t address, uint64_t *ret_offset)
{
    const ElfLoad *load = load_of(image, address);
    if (load) {
        *ret_offset = load->offset + (address - load->address);
    }
    return load != NULL;
}

bool elf_is_code(const ElfImage *image, uint64_t address)
{
    const ElfLoad *load = load_of(image, address);
    return load && (load->flags & ELF_EXECUTE);
}

/* ---- Headers -------------------------------------------------------------------------------- */

static int add_load(ElfImage *image, const uint8_t *header)
{
    uint64_t offset = elf_u64(header + offsetof(Elf64_Phdr, p_offset));
    uint64_t length = elf_u64(header + offsetof(Elf64_Phdr, p_filesz));
    uint64_t address = elf_u64(header + offsetof(Elf64_Phdr, p_vaddr));
    if (!length || image->n_loads == ELF_LOADS_MAX) {
        return 0;
    }
    if (!fits(image, offset, length, 1) || address > UINT64_MAX - length) {
        return -EBADMSG;
    }
    image->loads[image->n_loads++] = (ElfLoad){
        .address = address,
        .offset = (size_t)offset,
        .length = (size_t)length,
        .flags = elf_u32(header + offsetof(Elf64_Phdr, p_flags)),
    };
    return 0;
}

static void read_note(ElfImage *image, size_t offset, size_t length)
{
    const uint8_t *note = image->bytes + offset;
    for (unsigned i = 0; i < NOTES_MAX && length >= sizeof(Elf64_Nhdr); i++) {
        uint64_t name = elf_u32(note), content = elf_u32(note + 4);
        uint64_t start = sizeof(Elf64_Nhdr) + ((name + 3) & ~UINT64_C(3));
        uint64_t whole = start + ((content + 3) & ~UINT64_C(3));
        if (start + content > length) {
            return;
        }
        if (elf_u32(note + 8) == NT_GNU_BUILD_ID && name == 4 &&
            memcmp(note + sizeof(Elf64_Nhdr), "GNU", 4) == 0 && content <= ELF_BUILD_ID_MAX) {
            memcpy(image->build_id, note + start, content);
            image->build_id_length = content;
            return;
        }
        if (whole > length) {
            return;
        }
        note += whole;
        length -= whole;
    }
}

static int read_segments(ElfImage *image, size_t *ret_dynamic, size_t *ret_dynamic_count)
{
    const uint8_t *header = image->bytes;
    uint64_t table = elf_u64(header + offsetof(Elf64_Ehdr, e_phoff));
    uint64_t size = elf_get(header + offsetof(Elf64_Ehdr, e_phentsize), 2);
    uint64_t count = elf_get(header + offsetof(Elf64_Ehdr, e_phnum), 2);
    if (!count || size != sizeof(Elf64_Phdr) || !fits(image, table, count, size)) {
        return -EBADMSG;
    }
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *segment = image->bytes + table + i * size;
        uint32_t type = elf_u32(segment);
        uint64_t offset = elf_u64(segment + offsetof(Elf64_Phdr, p_offset));
        uint64_t length = elf_u64(segment + offsetof(Elf64_Phdr, p_filesz));
        if (type == PT_LOAD) {
            int error = add_load(image, segment);
            if (error) {
                return error;
            }
        } else if (!fits(image, offset, length, 1)) {
            continue;
        } else if (type == PT_DYNAMIC) {
            *ret_dynamic = (size_t)offset;
            *ret_dynamic_count = (size_t)length / sizeof(Elf64_Dyn);
        } else if (type == PT_NOTE && !image->build_id_length) {
            read_note(image, (size_t)offset, (size_t)length);
        } else if (type == PT_GNU_EH_FRAME) {
            image->unwind_index = (ElfRange){image->bytes + offset, (size_t)length,
                                             elf_u64(segment + offsetof(Elf64_Phdr, p_vaddr))};
        }
    }
    return image->n_loads ? 0 : -EBADMSG;
}

static const uint8_t *section_at(const ElfImage *image, size_t i)
{
    return image->bytes + image->sections.offset + i * sizeof(Elf64_Shdr);
}

/* Sections may be missing or wrong: then there are none. */
static void read_sections(ElfImage *image)
{
    const uint8_t *header = image->bytes;
    uint64_t table = elf_u64(header + offsetof(Elf64_Ehdr, e_shoff));
    uint64_t size = elf_get(header + offsetof(Elf64_Ehdr, e_shentsize), 2);
    uint64_t count = elf_get(header + offsetof(Elf64_Ehdr, e_shnum), 2);
    uint64_t names = elf_get(header + offsetof(Elf64_Ehdr, e_shstrndx), 2);
    if (!table || size != sizeof(Elf64_Shdr) || !fits(image, table, count, size) ||
        names >= count) {
        return;
    }
    image->sections = (ElfTable){(size_t)table, (size_t)count};
    const uint8_t *section = section_at(image, (size_t)names);
    uint64_t offset = elf_u64(section + offsetof(Elf64_Shdr, sh_offset));
    uint64_t length = elf_u64(section + offsetof(Elf64_Shdr, sh_size));
    if (fits(image, offset, length, 1)) {
        image->section_names = (ElfRange){image->bytes + offset, (size_t)length, 0};
    }
    for (uint64_t i = 0; i < count; i++) {
        section = section_at(image, (size_t)i);
        uint32_t link = elf_u32(section + offsetof(Elf64_Shdr, sh_link));
        offset = elf_u64(section + offsetof(Elf64_Shdr, sh_offset));
        length = elf_u64(section + offsetof(Elf64_Shdr, sh_size));
        if (elf_u32(section + offsetof(Elf64_Shdr, sh_type)) != SHT_SYMTAB || link >= count ||
            !fits(image, offset, length, 1)) {
            continue;
        }
        image->symbols = (ElfTable){(size_t)offset, (size_t)length / sizeof(Elf64_Sym)};
        section = section_at(image, link);
        offset = elf_u64(section + offsetof(Elf64_Shdr, sh_offset));
        length = elf_u64(section + offsetof(Elf64_Shdr, sh_size));
        if (fits(image, offset, length, 1)) {
            image->names = (ElfRange){image->bytes + offset, (size_t)length, 0};
        }
    }
}

/* The end of the chains of DT_GNU_HASH is the end of the table of symbols, whose length nothing
 * else tells. */
static size_t symbols_by_gnu_hash(ElfImage *image, uint64_t address)
{
    ElfRange table = elf_at(image, address);
    if (table.length < 16) {
        return 0;
    }
    uint64_t buckets = elf_u32(table.bytes), first = elf_u32(table.bytes + 4);
    uint64_t bucket = 16 + (uint64_t)elf_u32(table.bytes + 8) * 8;
    uint64_t chains = bucket + buckets * 4, last = 0;
    if (chains > table.length || !elf_work(image, buckets * 4)) {
        return 0;
    }
    for (uint64_t i = 0; i < buckets; i++) {
        uint64_t symbol = elf_u32(table.bytes + bucket + i * 4);
        last = symbol > last ? symbol : last;
    }
    while (last >= first && chains + (last - first + 1) * 4 <= table.length && elf_work(image, 4)) {
        if (elf_u32(table.bytes + chains + (last - first) * 4) & 1) {
            return (size_t)last + 1;
        }
        last++;
    }
    return 0;
}

typedef struct Dynamic {
    uint64_t symbols, names, names_length, gnu_hash, hash, relocations, relocations_length, soname;
} Dynamic;

static Dynamic read_entries(const ElfImage *image, size_t offset, size_t count)
{
    Dynamic dynamic = {.soname = UINT64_MAX};
    for (size_t i = 0; i < count && i < DYNAMIC_MAX; i++) {
        const uint8_t *entry = image->bytes + offset + i * sizeof(Elf64_Dyn);
        uint64_t value = elf_u64(entry + 8);
        switch (elf_u64(entry)) {
        case DT_NULL:
            return dynamic;
        case DT_SYMTAB:
            dynamic.symbols = value;
            break;
        case DT_STRTAB:
            dynamic.names = value;
            break;
        case DT_STRSZ:
            dynamic.names_length = value;
            break;
        case DT_GNU_HASH:
            dynamic.gnu_hash = value;
            break;
        case DT_HASH:
            dynamic.hash = value;
            break;
        case DT_RELA:
            dynamic.relocations = value;
            break;
        case DT_RELASZ:
            dynamic.relocations_length = value;
            break;
        case DT_SONAME:
            dynamic.soname = value;
            break;
        }
    }
    return dynamic;
}

static ElfTable table_at(const ElfImage *image, uint64_t address, uint64_t count, size_t size)
{
    ElfRange range = elf_at(image, address);
    if (!range.length) {
        return (ElfTable){0};
    }
    uint64_t most = range.length / size;
    return (ElfTable){(size_t)(range.bytes - image->bytes), (size_t)(count < most ? count : most)};
}

static void read_dynamic(ElfImage *image, size_t offset, size_t count)
{
    Dynamic dynamic = read_entries(image, offset, count);
    image->relocations =
        table_at(image, dynamic.relocations, dynamic.relocations_length / sizeof(Elf64_Rela),
                 sizeof(Elf64_Rela));
    ElfRange names = elf_at(image, dynamic.names);
    names.length =
        names.length < dynamic.names_length ? names.length : (size_t)dynamic.names_length;
    image->dynamic_names = names;
    if (dynamic.soname < names.length &&
        memchr(names.bytes + dynamic.soname, 0, names.length - (size_t)dynamic.soname)) {
        image->soname = (const char *)names.bytes + dynamic.soname;
    }
    const uint8_t *hash = dynamic.hash ? elf_bytes_at(image, dynamic.hash, 8) : NULL;
    size_t symbols = hash               ? elf_u32(hash + 4)
                     : dynamic.gnu_hash ? symbols_by_gnu_hash(image, dynamic.gnu_hash)
                                        : 0;
    image->dynamic_symbols = table_at(image, dynamic.symbols, symbols, sizeof(Elf64_Sym));
}

int elf_image_init(ElfImage *image, const uint8_t *bytes, size_t length)
{
    *image = (ElfImage){.bytes = bytes, .length = length};
    image->work_limit = (uint64_t)length * WORK_PER_BYTE + WORK_AT_LEAST;
    if (length < EI_NIDENT + 4 || memcmp(bytes, ELFMAG, SELFMAG) != 0) {
        return -ENOEXEC;
    }
    if (bytes[EI_CLASS] == ELFCLASS32) {
        return -ENOTSUP;
    }
    uint64_t type = elf_get(bytes + offsetof(Elf64_Ehdr, e_type), 2);
    uint64_t machine = elf_get(bytes + offsetof(Elf64_Ehdr, e_machine), 2);
    if (bytes[EI_DATA] != ELFDATA2LSB || (machine != EM_X86_64 && machine != EM_AARCH64)) {
        return -ENOSYS;
    }
    if (length < sizeof(Elf64_Ehdr) || (type != ET_EXEC && type != ET_DYN)) {
        return -EBADMSG;
    }
    image->arch = machine == EM_X86_64 ? ELF_X86_64 : ELF_ARM64;
    image->is_fixed = type == ET_EXEC;
    size_t dynamic = 0, dynamic_count = 0;
    int error = read_segments(image, &dynamic, &dynamic_count);
    if (!error) {
        read_sections(image);
        read_dynamic(image, dynamic, dynamic_count);
    }
    return error;
}

/* ---- Look-ups ------------------------------------------------------------------------------- */

static bool is_named(ElfRange names, uint32_t offset, const char *name)
{
    size_t length = strlen(name) + 1;
    return offset < names.length && length <= names.length - offset &&
           memcmp(names.bytes + offset, name, length) == 0;
}

ElfRange elf_section(ElfImage *image, const char *name)
{
    for (size_t i = 0; i < image->sections.count && elf_work(image, sizeof(Elf64_Shdr)); i++) {
        const uint8_t *section = section_at(image, i);
        if (!is_named(image->section_names, elf_u32(section), name) ||
            elf_u32(section + offsetof(Elf64_Shdr, sh_type)) == SHT_NOBITS) {
            continue;
        }
        ElfRange range = elf_at(image, elf_u64(section + offsetof(Elf64_Shdr, sh_addr)));
        uint64_t length = elf_u64(section + offsetof(Elf64_Shdr, sh_size));
        range.length = range.length < length ? range.length : (size_t)length;
        return range;
    }
    return (ElfRange){0};
}

bool elf_pointer(ElfImage *image, uint64_t address, uint64_t *ret_value)
{
    const uint8_t *bytes = elf_bytes_at(image, address, 8);
    if (!bytes) {
        return false;
    }
    uint32_t relative = image->arch == ELF_X86_64 ? R_X86_64_RELATIVE : R_AARCH64_RELATIVE;
    *ret_value = elf_u64(bytes);
    for (size_t i = 0; i < image->relocations.count; i++) {
        const uint8_t *entry = image->bytes + image->relocations.offset + i * sizeof(Elf64_Rela);
        if (!elf_work(image, sizeof(Elf64_Rela))) {
            return false;
        }
        if (elf_u64(entry) == address && elf_u32(entry + 8) == relative) {
            *ret_value = elf_u64(entry + 16);
            return true;
        }
    }
    return true;
}

uint64_t elf_import_slot(ElfImage *image, const char *name)
{
    uint32_t kind = image->arch == ELF_X86_64 ? R_X86_64_GLOB_DAT : R_AARCH64_GLOB_DAT;
    for (size_t i = 0; i < image->relocations.count; i++) {
        const uint8_t *entry = image->bytes + image->relocations.offset + i * sizeof(Elf64_Rela);
        if (!elf_work(image, sizeof(Elf64_Rela))) {
            return 0;
        }
        uint32_t symbol = elf_u32(entry + 12);
        if (elf_u32(entry + 8) != kind || symbol >= image->dynamic_symbols.count) {
            continue;
        }
        const uint8_t *at =
            image->bytes + image->dynamic_symbols.offset + symbol * sizeof(Elf64_Sym);
        if (is_named(image->dynamic_names, elf_u32(at), name)) {
            return elf_u64(entry);
        }
    }
    return 0;
}

static void find_in_table(ElfImage *image, ElfTable table, ElfRange strings,
                          const char *const *names, unsigned count, ElfSymbol *ret)
{
    for (size_t i = 0; i < table.count && elf_work(image, sizeof(Elf64_Sym)); i++) {
        const uint8_t *symbol = image->bytes + table.offset + i * sizeof(Elf64_Sym);
        uint32_t name = elf_u32(symbol);
        uint64_t address = elf_u64(symbol + offsetof(Elf64_Sym, st_value));
        if (!elf_get(symbol + offsetof(Elf64_Sym, st_shndx), 2) || !address ||
            name >= strings.length) {
            continue;
        }
        for (unsigned n = 0; n < count; n++) {
            if (strings.bytes[name] == (uint8_t)names[n][0] && !ret[n].address &&
                is_named(strings, name, names[n])) {
                ret[n] = (ElfSymbol){address, elf_u64(symbol + offsetof(Elf64_Sym, st_size))};
            }
        }
    }
}

void elf_find_symbols(ElfImage *image, const char *const *names, unsigned count, ElfSymbol *ret)
{
    memset(ret, 0, count * sizeof(*ret));
    find_in_table(image, image->dynamic_symbols, image->dynamic_names, names, count, ret);
    find_in_table(image, image->symbols, image->names, names, count, ret);
}

/* .eh_frame_hdr as GNU ld and lld write it (LSB Core, 10.6.2): places relative to its own
 * beginning, sorted. Its entries lead to descriptions (FDE) of which the length of the code is the
 * fourth word. */
static int find_function(const ElfImage *image, uint64_t address, uint64_t *ret_start)
{
    const ElfRange *index = &image->unwind_index;
    static const uint8_t encodings[] = {1, 0x1b, 0x03, 0x3b};
    if (index->length < 12 || memcmp(index->bytes, encodings, sizeof(encodings)) != 0) {
        return -1;
    }
    size_t low = 0, high = elf_u32(index->bytes + 8);
    if (high > (index->length - 12) / 8) {
        return -1;
    }
    while (low < high) { /* `low` becomes the first entry behind the address */
        size_t middle = low + (high - low) / 2;
        uint64_t start =
            index->address + (uint64_t)(int32_t)elf_u32(index->bytes + 12 + middle * 8);
        if (start == address) {
            *ret_start = start;
            return 1;
        }
        if (start < address) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0) {
        return -1;
    }
    const uint8_t *entry = index->bytes + 12 + (low - 1) * 8;
    uint64_t start = index->address + (uint64_t)(int32_t)elf_u32(entry);
    const uint8_t *description =
        elf_bytes_at(image, index->address + (uint64_t)(int32_t)elf_u32(entry + 4), 16);
    bool is_inside = description && address - start < elf_u32(description + 12);
    *ret_start = start;
    return is_inside ? 0 : -1;
}

int elf_function_begins(const ElfImage *image, uint64_t address)
{
    uint64_t start;
    return find_function(image, address, &start);
}

uint64_t elf_function_of(const ElfImage *image, uint64_t address)
{
    uint64_t start;
    return find_function(image, address, &start) < 0 ? 0 : start;
}

const uint8_t *elf_search(ElfImage *image, ElfRange range, const void *needle, size_t length)
{
    if (!range.length || elf_exhausted(image)) {
        return NULL;
    }
    const uint8_t *found = memmem(range.bytes, range.length, needle, length);
    elf_work(image, found ? (uint64_t)(found - range.bytes) + length : range.length);
    return found;
}
