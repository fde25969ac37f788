// SPDX-License-Identifier: GPL-2.0-or-later
/* The capabilities that capture needs. */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* false with error (G_FILE_ERROR) that names each one that is missing, what for, and what to do. */
bool capabilities_check(GError **error);
