// SPDX-License-Identifier: GPL-2.0-or-later
/* Looks for what can be hooked without keeping its caller from what must not wait. */
#pragma once

#include "node-capture/tls/finder.h"

typedef struct TlsMeanwhile {
    int fd; /* readable: there is something to do at once */
    void (*call)(void *userdata);
    void *userdata;
} TlsMeanwhile;

/* As tls_find_in_file(), on a thread of its own; until that is done, `meanwhile` is called on this
 * one whenever there is something to do, and every 20 ms. */
int tls_find_aside(int fd, TlsFile *ret, const TlsMeanwhile *meanwhile);
