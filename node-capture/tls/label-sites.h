// SPDX-License-Identifier: GPL-2.0-or-later
/* Where a file keeps the labels of the key log (draft-ietf-tls-keylogfile) as C strings, and which instructions take their
 * addresses. */
#pragma once

#include "node-capture/tls/elf-image.h"
#include "node-capture/tls/finder.h"

#define LABEL_STRINGS_MAX 64
#define LABEL_SITES_MAX   256

typedef struct LabelString {
    uint64_t address;
    TlsLabel label;
} LabelString;

/* An instruction after which a register holds the label's address. */
typedef struct LabelSite {
    uint64_t next; /* the instruction that follows */
    uint64_t string;
    TlsLabel label;
    uint8_t reg;
} LabelSite;

typedef struct LabelSites {
    LabelString strings[LABEL_STRINGS_MAX];
    unsigned n_strings;
    LabelSite sites[LABEL_SITES_MAX];
    unsigned n_sites;
    unsigned n_other; /* labels that do not end with a zero byte: strings of Go or Rust */
} LabelSites;

void label_sites_find(ElfImage *image, LabelSites *ret);
/* The label at this address, or TLS_LABELS. */
TlsLabel label_sites_at(const LabelSites *sites, uint64_t address);
