// SPDX-License-Identifier: GPL-2.0-or-later
/* Hashes for tables whose keys strangers choose: nobody can choose ones that collide. They hold for
 * this process only. Any thread. */
#pragma once

#include <glib.h>
#include <stddef.h>
#include <stdint.h>

uint32_t seeded_hash(const void *bytes, size_t length);
guint seeded_str_hash(gconstpointer text); /* a GHashFunc, in the place of g_str_hash */
