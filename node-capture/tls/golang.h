// SPDX-License-Identifier: GPL-2.0-or-later
/* Go programs: crypto/tls.(*Config).writeKeyLog by the table of functions (.gopclntab), which
 * stripped programs have, too. */
#pragma once

#include "node-capture/tls/elf-image.h"
#include "node-capture/tls/finder.h"

/* False: no Go program. *ret_has_tls: crypto/tls is in it, and *ret is filled. */
bool golang_find(ElfImage *image, TlsImplementation *ret, bool *ret_has_tls);
