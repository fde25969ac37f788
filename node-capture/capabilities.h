// SPDX-License-Identifier: GPL-2.0-or-later
/* What capture needs from the system, and what is missing without each. */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* What nothing works without. false with error (G_FILE_ERROR) that names each one that is missing,
 * what for, and what to do. */
bool capabilities_check(GError **error);

typedef void (*CapabilitiesProblem)(const char *subject, const char *message, void *userdata);

/* What only finding pods in the kernel needs: tells each one that is missing, and what is missing
 * because of it. */
void capabilities_tell_missing(CapabilitiesProblem problem, void *userdata);
