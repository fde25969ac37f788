// SPDX-License-Identifier: GPL-2.0-or-later
/* Capture filters, checked here with libpcap before a node is asked. */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* NULL and "" are valid. The error has libpcap's own words. */
bool filter_check(const char *filter, GError **error);
