// SPDX-License-Identifier: GPL-2.0-or-later
/* What the finder says, for people. */
#pragma once

#include <glib.h>
#include <stdio.h>

#include "node-capture/tls/finder.h"

/* `target`: a file, or the number of a process; what is both is the file. Of a process, files
 * without TLS are counted only. */
bool tls_explain(const char *target, FILE *out, GError **error);
/* One file's answer. */
void tls_explain_file(const char *path, const TlsFile *file, FILE *out);
