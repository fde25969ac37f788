// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/label-sites.h"

#include <string.h>

#include "node-capture/tls/instruction.h"

static const char *const names[TLS_LABELS] = {
    [TLS_LABEL_CLIENT_RANDOM] = "CLIENT_RANDOM",
    [TLS_LABEL_CLIENT_EARLY] = "CLIENT_EARLY_TRAFFIC_SECRET",
    [TLS_LABEL_CLIENT_HANDSHAKE] = "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
    [TLS_LABEL_SERVER_HANDSHAKE] = "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    [TLS_LABEL_CLIENT_TRAFFIC] = "CLIENT_TRAFFIC_SECRET_0",
    [TLS_LABEL_SERVER_TRAFFIC] = "SERVER_TRAFFIC_SECRET_0",
    [TLS_LABEL_EXPORTER] = "EXPORTER_SECRET",
    [TLS_LABEL_EARLY_EXPORTER] = "EARLY_EXPORTER_SECRET",
};

const char *tls_label_name(TlsLabel label)
{
    return label < TLS_LABELS ? names[label] : "";
}

const LabelString *label_sites_at(const LabelSites *sites, uint64_t address)
{
    for (unsigned i = 0; i < sites->n_strings; i++) {
        if (sites->strings[i].address == address) {
            return &sites->strings[i];
        }
    }
    return NULL;
}

/* ---- The strings ---------------------------------------------------------------------------- */

/* What all labels contain: fewer searches over the file. */
static const char *const needles[] = {"CLIENT_RANDOM", "TRAFFIC_SECRET", "EXPORTER_SECRET"};

/* The label that has the needle found at `at`. What stands before a label does not count: a linker
 * may let EXPORTER_SECRET be the end of EARLY_EXPORTER_SECRET. */
static void match_label(ElfRange range, size_t at, const char *needle, TlsLabel label,
                        LabelSites *ret)
{
    const char *inside = strstr(names[label], needle);
    size_t length = strlen(names[label]), before = inside ? (size_t)(inside - names[label]) : 0;
    if (!inside || at < before || length > range.length - (at - before) ||
        memcmp(range.bytes + at - before, names[label], length) != 0) {
        return;
    }
    size_t end = at - before + length;
    if (ret->n_strings < LABEL_STRINGS_MAX) {
        ret->strings[ret->n_strings++] = (LabelString){range.address + at - before, label,
                                                       end < range.length && range.bytes[end] == 0};
    }
}

static void find_strings(ElfImage *image, ElfRange range, const char *needle, LabelSites *ret)
{
    size_t from = 0;
    const uint8_t *found;
    while (from < range.length &&
           (found = elf_search(image, (ElfRange){range.bytes + from, range.length - from, 0},
                               needle, strlen(needle)))) {
        size_t at = (size_t)(found - range.bytes);
        for (unsigned label = 0; label < TLS_LABELS; label++) {
            match_label(range, at, needle, (TlsLabel)label, ret);
        }
        from = at + 1;
    }
}

/* ---- The instructions ----------------------------------------------------------------------- */

typedef struct Scan {
    LabelSites *sites;
    uint64_t lowest, highest;
    ElfRange code;
} Scan;

static void consider(Scan *scan, size_t next, uint64_t address, uint8_t reg)
{
    if (address - scan->lowest > scan->highest - scan->lowest) {
        return;
    }
    const LabelString *string = label_sites_at(scan->sites, address);
    LabelSites *sites = scan->sites;
    if (string && sites->n_sites < LABEL_SITES_MAX) {
        sites->sites[sites->n_sites++] =
            (LabelSite){.next = scan->code.address + next, .string = *string, .reg = reg};
    }
}

/* lea reg, [rip + displacement], at every byte: where instructions begin is not known. */
static void scan_x86(Scan *scan)
{
    const uint8_t *bytes = scan->code.bytes, *end = bytes + scan->code.length;
    const uint8_t *at = bytes;
    while (at < end && (at = memchr(at, 0x8d, (size_t)(end - at)))) {
        if (at > bytes && end - at >= 6 && (at[1] & 0xc7) == 5 && (at[-1] & 0xfb) == 0x48) {
            size_t next = (size_t)(at - bytes) + 6;
            uint64_t address =
                scan->code.address + next + (uint64_t)(int64_t)(int32_t)elf_u32(at + 2);
            consider(scan, next, address, (uint8_t)((at[1] >> 3 & 7) | (at[-1] & 4) << 1));
        }
        at++;
    }
}

/* mov reg, address of 32 bits, in programs that are not moved. */
static void scan_x86_fixed(Scan *scan)
{
    for (size_t i = 0; i + 5 <= scan->code.length; i++) {
        const uint8_t *at = scan->code.bytes + i;
        if ((at[0] & 0xf8) == 0xb8) {
            bool is_high = i > 0 && (at[-1] & 0xf1) == 0x41;
            consider(scan, i + 5, elf_u32(at + 1), (uint8_t)((at[0] & 7) | is_high << 3));
        }
    }
}

/* adrp, and an add that may come later: a register's page is remembered until it gets another one.
 * That other instructions have changed it in between is not looked for: a sum that is by chance the
 * address of a label is rare. */
static void scan_arm64(Scan *scan)
{
    uint64_t pages[REGISTERS] = {0};
    uint32_t known = 0;
    for (size_t i = 0; i + 4 <= scan->code.length; i += 4) {
        uint32_t word = elf_u32(scan->code.bytes + i);
        bool is_page = (word & 0x1f000000) == 0x10000000,
             is_add = (word & 0xffc00000) == 0x91000000;
        Instruction found;
        if ((!is_page && !is_add) ||
            !instruction_arm64(scan->code.bytes + i, 4, scan->code.address + i, &found)) {
            continue;
        }
        if (found.operation == OPERATION_PAGE) {
            pages[found.target] = (uint64_t)found.value;
            known |= UINT32_C(1) << found.target;
        } else if (found.operation == OPERATION_CONSTANT) {
            consider(scan, i + 4, (uint64_t)found.value, found.target);
        } else if (found.operation == OPERATION_ADD && known >> found.source & 1) {
            pages[found.target] = pages[found.source] + (uint64_t)found.value;
            known |= UINT32_C(1) << found.target;
            consider(scan, i + 4, pages[found.target], found.target);
        }
    }
}

void label_sites_find(ElfImage *image, LabelSites *ret)
{
    memset(ret, 0, sizeof(*ret));
    for (unsigned i = 0; i < image->n_loads; i++) {
        for (unsigned n = 0; n < sizeof(needles) / sizeof(*needles); n++) {
            find_strings(image, elf_load_range(image, i), needles[n], ret);
        }
    }
    if (!ret->n_strings) {
        return;
    }
    Scan scan = {.sites = ret, .lowest = UINT64_MAX};
    for (unsigned i = 0; i < ret->n_strings; i++) {
        uint64_t address = ret->strings[i].address;
        scan.lowest = address < scan.lowest ? address : scan.lowest;
        scan.highest = address > scan.highest ? address : scan.highest;
    }
    for (unsigned i = 0; i < image->n_loads; i++) {
        scan.code = elf_load_range(image, i);
        if (!(image->loads[i].flags & ELF_EXECUTE) || !elf_work(image, scan.code.length)) {
            continue;
        }
        if (image->arch == ELF_ARM64) {
            scan_arm64(&scan);
        } else {
            scan_x86(&scan);
            if (image->is_fixed) {
                scan_x86_fixed(&scan);
            }
        }
    }
}
