// SPDX-License-Identifier: GPL-2.0-or-later
/* Where a probe costs least. At an entry whose first instruction the kernel has to execute out of
 * place, a hit takes a second exception; pushes and jumps it does itself. So the first of these is
 * looked for, as long as all that lies before it is straight code that moves the arguments to
 * places that are still known. */
#pragma once

#include "node-capture/tls/elf-image.h"
#include "node-capture/tls/finder.h"

/* Fills log->probe from what else is known of the function: its entry, or a better place. */
void probe_point_find(ElfImage *image, TlsKeyLog *log);
