// SPDX-License-Identifier: GPL-2.0-or-later
/* Go programs: crypto/tls.(*Config).writeKeyLog by the table of functions (.gopclntab), which
 * stripped programs have, too. */
#pragma once

#include "node-capture/tls/elf-image.h"
#include "node-capture/tls/finder.h"
#include "node-capture/tls/golang-table.h"

typedef enum GoAbi { GO_ABI_UNKNOWN, GO_ABI_STACK, GO_ABI_REGISTERS } GoAbi;

/* False: no Go program. *ret_has_tls: crypto/tls is in it, and *ret is filled. */
bool golang_find(ElfImage *image, TlsImplementation *ret, bool *ret_has_tls);

/* How the function at that address gets its arguments. */
GoAbi golang_abi(const ElfImage *image, const GoTable *table, uint64_t address);
