// SPDX-License-Identifier: GPL-2.0-or-later
/* The files that processes run, what the finder says of each, once, and the hooks in them. One
 * thread. */
#pragma once

#include "node-capture/tls/aside.h"
#include "node-capture/tls/plaintext-hooks.h"

typedef struct HookedFiles HookedFiles;

/* The hooks are borrowed. */
HookedFiles *hooked_files_new(TlsHooks *hooks);
/* What is done while a file is looked into, which can take seconds. To be set before the first. */
void hooked_files_set_meanwhile(HookedFiles *files, const TlsMeanwhile *meanwhile);
HookedFiles *hooked_files_free(HookedFiles *files); /* NULL is fine; returns NULL */

/* What takes plaintext, borrowed, or NULL for nothing (as in the beginning), where those before are
 * freed already. Files that were looked at get its hooks when they are used next. */
void hooked_files_set_plaintext(HookedFiles *files, PlaintextHooks *plaintext);

/* A process has mapped it: looks at it if it is new, and hooks what can be. `path` is for messages.
 */
void hooked_files_use(HookedFiles *files, const char *path, int fd);

/* Readable when hooked files were written to, or -1; then hooked_files_dispatch() takes their hooks
 * out, and returns whether there were any: they are to be looked into when they are mapped again.
 */
int hooked_files_fd(const HookedFiles *files);
bool hooked_files_dispatch(HookedFiles *files);

/* A hook has given a secret: its file is in use. */
void hooked_files_gave(HookedFiles *files, uint64_t hook);

/* Takes the hooks out of those that were not used since the last call. */
void hooked_files_sweep(HookedFiles *files);
/* As if none had been used since. */
void hooked_files_forget_use(HookedFiles *files);
