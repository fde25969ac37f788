// SPDX-License-Identifier: GPL-2.0-or-later
/* Wireshark's toolbar for the interface: a status text and a log, and the status bar for warnings.
 *
 * Source: Wireshark, ui/qt/interface_toolbar.cpp and the section "Control protocol" of its extcap
 * documentation. Opening the two pipes waits for Wireshark, and Wireshark waits for them: both
 * happen on threads of their own, so nothing here blocks but where it says so. A Wireshark that
 * does not read gets no further messages. */
#pragma once

#include <glib.h>

typedef struct Control Control;

/* Prints the "control" sentences of --extcap-interfaces. */
void control_print_sentences(void);

/* NULL when one of the paths is; every other function takes NULL and then does nothing. */
Control *control_open(const char *in_path, const char *out_path);

void control_set_status(Control *control, const char *text); /* the text in the toolbar */
void control_log(Control *control, const char *text);        /* a line in the log window */
void control_warn(Control *control,
                  const char *text); /* a line in the log window and the status bar */

/* Waits until Wireshark has opened its side: from then on it does no longer depend on this process.
 * At most 2 s. */
void control_wait_opened(Control *control);
/* Sends what is queued, for at most half a second, and closes. Returns NULL. */
Control *control_close(Control *control);
