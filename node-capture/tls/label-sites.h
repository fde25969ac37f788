// SPDX-License-Identifier: GPL-2.0-or-later
/* Where a file keeps the labels of the key log (draft-ietf-tls-keylogfile) and which instructions
 * take their addresses. */
#pragma once

#include "node-capture/tls/elf-image.h"
#include "node-capture/tls/finder.h"

#define LABEL_STRINGS_MAX 64
#define LABEL_SITES_MAX   256

typedef struct LabelString {
    uint64_t address;
    TlsLabel label;
    bool is_terminated; /* by a zero byte; else it is passed with its length */
} LabelString;

/* An instruction after which a register holds the label's address. */
typedef struct LabelSite {
    uint64_t next; /* the instruction that follows */
    LabelString string;
    uint8_t reg;
} LabelSite;

typedef struct LabelSites {
    LabelString strings[LABEL_STRINGS_MAX];
    unsigned n_strings;
    LabelSite sites[LABEL_SITES_MAX];
    unsigned n_sites;
} LabelSites;

void label_sites_find(ElfImage *image, LabelSites *ret);
/* The label at this address, or NULL. */
const LabelString *label_sites_at(const LabelSites *sites, uint64_t address);
