// SPDX-License-Identifier: GPL-2.0-or-later
/* --inventory FILE: names for packets from a file. */
#pragma once

#include <glib.h>

#include "k8s-enrich/inventory.h"

/* Reads the file of --inventory. `warn` gets a sentence for each object that was left out. NULL
 * with error. */
Inventory *names_load(const char *path, void (*warn)(const char *text, void *userdata),
                      void *userdata, GError **error);
