// SPDX-License-Identifier: GPL-2.0-or-later
/* The search behind points.h. */
#pragma once

#include "node-capture/tls/elf-image.h"
#include "node-capture/tls/golang-table.h"
#include "node-capture/tls/points.h"

/* Adds those that symbols name. */
void points_find_symbols(ElfImage *image, TlsPoints *points);
/* Adds those of Go's crypto/tls, which is in the file; all of them or none, and then `reason` says why. */
void points_find_golang(ElfImage *image, TlsPoints *points);

/* False: there is no room, or it is not code of the file. */
bool points_add(const ElfImage *image, TlsPoints *points, TlsPoint point);
