// SPDX-License-Identifier: GPL-2.0-or-later
/* A view on the bytes of an ELF file that nobody has checked: a program or library as it lies on
 * the disk of a pod. Nothing is copied or allocated and nothing is read outside the bytes, whatever
 * the headers claim. What is wrong in a part that is not needed (sections, symbols, notes) makes
 * that part missing, not the file unreadable.
 *
 * Work is counted in bytes looked at. When `work` reaches `work_limit`, every search ends as if
 * nothing more were there and elf_exhausted() is true, so that headers which name the same bytes
 * again and again cost a bounded time.
 *
 * Not elfutils: their libraries trust the tables of a file in more places than a file from a
 * stranger's container deserves, want sections where stripped programs have none, and what is
 * needed here is little.
 *
 * Source: System V ABI, chapters 4 and 5; generic and processor supplements for x86-64 and AArch64.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ELF_LOADS_MAX    48
#define ELF_BUILD_ID_MAX 64

typedef enum ElfArch { ELF_X86_64, ELF_ARM64 } ElfArch;

enum { ELF_EXECUTE = 1, ELF_WRITE = 2, ELF_READ = 4 };

/* A part of the file that is mapped; inside the bytes. */
typedef struct ElfLoad {
    uint64_t address;
    size_t offset, length;
    uint32_t flags;
} ElfLoad;

/* A run of bytes of the file, with the address that it gets. */
typedef struct ElfRange {
    const uint8_t *bytes;
    size_t length;
    uint64_t address;
} ElfRange;

typedef struct ElfSymbol {
    uint64_t address, size; /* size 0: not told */
} ElfSymbol;

typedef struct ElfTable { /* entries of a size of their own, inside the bytes */
    size_t offset, count;
} ElfTable;

typedef struct ElfImage {
    const uint8_t *bytes;
    size_t length;
    ElfArch arch;
    bool is_fixed; /* ET_EXEC: addresses are absolute */
    ElfLoad loads[ELF_LOADS_MAX];
    unsigned n_loads;
    ElfTable sections;
    ElfRange section_names;
    ElfTable dynamic_symbols, symbols, relocations;
    ElfRange dynamic_names, names, unwind_index;
    const char *soname; /* or NULL */
    uint8_t build_id[ELF_BUILD_ID_MAX];
    size_t build_id_length; /* 0: none */
    uint64_t work, work_limit;
} ElfImage;

/* 0; -ENOEXEC: no ELF; -ENOTSUP: ELF of 32 bits; -ENOSYS: of a processor that is not known here;
 * -EBADMSG: headers that contradict the file. `bytes` must live as long as the image. */
int elf_image_init(ElfImage *image, const uint8_t *bytes, size_t length);

/* Counts the work; false when there has been too much. */
bool elf_work(ElfImage *image, uint64_t bytes);
static inline bool elf_exhausted(const ElfImage *image)
{
    return image->work >= image->work_limit;
}

/* The bytes at an address up to the end of its mapping; length 0 where there are none in the file.
 */
ElfRange elf_at(const ElfImage *image, uint64_t address);
/* `length` bytes at an address, or NULL. */
const uint8_t *elf_bytes_at(const ElfImage *image, uint64_t address, size_t length);
/* False where the address is not in the file. */
bool elf_offset(const ElfImage *image, uint64_t address, uint64_t *ret_offset);
bool elf_is_code(const ElfImage *image, uint64_t address);
ElfRange elf_load_range(const ElfImage *image, unsigned load);

/* A section by name, clipped to what is mapped of it; length 0: there is none. */
ElfRange elf_section(ElfImage *image, const char *name);
/* The pointer at an address after relocation (R_*_RELATIVE). */
bool elf_pointer(ElfImage *image, uint64_t address, uint64_t *ret_value);

/* Defined symbols of the given names, of the dynamic table first, then of .symtab, in one pass over
 * each. ret[i].address is 0 where there is none of names[i]. */
void elf_find_symbols(ElfImage *image, const char *const *names, unsigned count, ElfSymbol *ret);

/* By the index of unwind tables: 1: a function begins at this address; 0: it is inside of one; -1:
 * they say nothing of it. */
int elf_function_begins(const ElfImage *image, uint64_t address);

/* Where the function begins that an address is inside of, by the same; 0: they say nothing of it.
 */
uint64_t elf_function_of(const ElfImage *image, uint64_t address);

/* Where the address of a function of another file will stand (R_*_GLOB_DAT), or 0. */
uint64_t elf_import_slot(ElfImage *image, const char *name);

/* The first place of a needle in a range, counted as work; NULL: none. */
const uint8_t *elf_search(ElfImage *image, ElfRange range, const void *needle, size_t length);

/* Little-endian reads of what has been checked to be there. */
static inline uint64_t elf_get(const uint8_t *bytes, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

static inline uint32_t elf_u32(const uint8_t *bytes)
{
    return (uint32_t)elf_get(bytes, 4);
}

static inline uint64_t elf_u64(const uint8_t *bytes)
{
    return elf_get(bytes, 8);
}
