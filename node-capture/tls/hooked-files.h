// SPDX-License-Identifier: GPL-2.0-or-later
/* The files that processes run, what the finder says of each, once, and the hooks in them. One
 * thread. */
#pragma once

#include "node-capture/tls/aside.h"
#include "node-capture/tls/calibration.h"
#include "node-capture/tls/plaintext-hooks.h"
#include "node-capture/tls/programs.h"

typedef struct HookedFiles HookedFiles;

/* All are borrowed; the programs are told what is known of a file with TLS in it. */
HookedFiles *hooked_files_new(TlsHooks *hooks, TlsPrograms *programs, KnownChains *chains);
/* What is done while a file is looked into, which can take seconds. To be set before the first. */
void hooked_files_set_meanwhile(HookedFiles *files, const TlsMeanwhile *meanwhile);
HookedFiles *hooked_files_free(HookedFiles *files); /* NULL is fine; returns NULL */

/* What takes plaintext, borrowed, or NULL for nothing (as in the beginning), where those before are
 * freed already. Files that were looked at get its hooks when they are used next. */
void hooked_files_set_plaintext(HookedFiles *files, PlaintextHooks *plaintext);

/* A process has mapped it: looks at it if it is new, and hooks what can be. `path` is for messages;
 * `is_program`: it is what the process was started from. Returns the file's number among the
 * programs; 0: nothing of TLS is known of it. */
uint64_t hooked_files_use(HookedFiles *files, const char *path, int fd, bool is_program);

/* Readable when hooked files were written to, or -1; then hooked_files_dispatch() takes their hooks
 * out, and returns whether there were any: they are to be looked into when they are mapped again.
 */
int hooked_files_fd(const HookedFiles *files);
bool hooked_files_dispatch(HookedFiles *files);

/* A hook has given a secret: its file is in use. Returns its number as above. */
uint64_t hooked_files_gave(HookedFiles *files, uint64_t hook);
/* Takes a hook out for good, as long as its file does not change. False: there is no such hook. */
bool hooked_files_withdraw(HookedFiles *files, uint64_t hook, const char *reason);
/* Files whose client random is to be found on the wire: hooked_files_calibrate() is to be called
 * every CALIBRATION_POLL_MS. It returns whether something was found: then those who use the files
 * are to be looked at again, so that they get their hooks. */
bool hooked_files_are_calibrated(const HookedFiles *files);
bool hooked_files_calibrate(HookedFiles *files, const WireRandoms *randoms);
unsigned hooked_files_count(const HookedFiles *files); /* that have hooks */

/* Takes the hooks out of those that were not used since the last call. */
void hooked_files_sweep(HookedFiles *files);
/* As if none had been used since. */
void hooked_files_forget_use(HookedFiles *files);
