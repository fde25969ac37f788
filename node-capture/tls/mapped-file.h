// SPDX-License-Identifier: GPL-2.0-or-later
/* tls_find() over a file, and the files that a process has mapped. */
#pragma once

#include <sys/types.h>

#include "node-capture/tls/finder.h"

/* A file that is cut short while it is looked through raises SIGBUS. For the thread that is in here
 * that is caught, and the handler that was there before gets all others; the handler is set once,
 * by the first call. */

/* 0, what tls_find() says, -EIO if the file was cut short meanwhile, or what opening failed with. A
 * file of more than 1 GiB is -EFBIG. */
int tls_find_in_file(int fd, TlsFile *ret);

/* Called for each file that has executable mappings in the process, once. `fd`: the file, open
 * during the call, or -errno. False ends it. */
typedef bool (*TlsProcessVisit)(void *context, const char *path, int fd);

/* 0, or -errno where the process cannot be looked at (-ENOENT: it is gone). */
int tls_visit_process(pid_t pid, TlsProcessVisit visit, void *context);
