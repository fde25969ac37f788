// SPDX-License-Identifier: GPL-2.0-or-later
/* The capture itself: the collector between the nodes and the output. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "extcap/control.h"
#include "extcap/options.h"

/* Captures until SIGINT, SIGTERM, a limit, or the reader goes away: then true. `operands` are the
 * words of a filter at the end of the command line, NULL-terminated. A second signal ends the
 * process at once. *ret_opened tells on failure whether the output was opened. */
bool capture_run(const RemoradumpOptions *options, char **operands, Control *control,
                 bool *ret_opened, GError **error);
