// SPDX-License-Identifier: GPL-2.0-or-later
/* What remoradump's two programs have in common. The one that is started (front.c) answers what it
 * can by itself and has few libraries; for all else the other one (main.c) takes its place, with
 * the same arguments. main.c can do everything, and is the only one where there is no exec. */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "extcap/control.h"
#include "extcap/options.h"

/* First in main(): names the log, and has failed writes told by their errors. */
void program_begin(void);
/* Last in main(): the exit status, which is that of a failure if standard output was not taken. */
int program_end(int code);

/* options_parse(), with the configuration file where the call needs one. `ret` is to be cleared in
 * any case. */
bool program_parse(int argc, char **argv, RemoradumpOptions *ret, char ***ret_operands,
                   GError **error);

/* Answers on standard output what needs neither nodes nor files: help, and Wireshark's questions at
 * its start. false if the call is none of these, or has a mistake. */
bool program_answer(const RemoradumpOptions *options, char **operands);

void program_print_error(const GError *error);
int program_exit_code(const GError *error);

/* For a capture that fails: lets Wireshark go on, which waits for the toolbar's pipe and for the
 * fifo. `opened`: the fifo was, by writer_open(). */
void program_release(int argc, char **argv, Control *control, bool opened);
