// SPDX-License-Identifier: GPL-2.0-or-later
/* What Wireshark asks an extcap before it captures, answered on standard output.
 * Source: extcap(4) and Wireshark's extcap_parser.c. Nothing here uses the network but
 * contract_print_values(). */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "extcap/options.h"

void contract_print_interfaces(void);
void contract_print_link_types(void);
void contract_print_dialog(void);
/* --extcap-reload-option: the namespaces or pods that the nodes know. Where there are none, the one
 * value says why. */
bool contract_print_values(const RemoradumpOptions *options, GError **error);
/* --extcap-capture-filter without --capture: nothing for a valid filter, else one line with the
 * error. */
void contract_check_filter(const char *filter);
