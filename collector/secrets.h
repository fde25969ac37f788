// SPDX-License-Identifier: GPL-2.0-or-later
/* Key log lines on their way to the file: each once, whichever nodes and ends of its connection
 * tell it, and none before the first interface, since Wireshark's tools (4.0) write no file that
 * has secrets there. No I/O. One thread. */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECRETS_REMEMBERED \
    131072u /* lines; a line that comes again after so many others is written again */
#define SECRETS_EARLY_MAX \
    (1024u * 1024u) /* bytes that wait for an interface; then the oldest lines go */

typedef struct Secrets Secrets;

Secrets *secrets_new(void);
Secrets *secrets_free(Secrets *secrets); /* NULL is fine; returns NULL */

/* The lines among these that are new, as many as may be written now. Borrowed until the next call.
 * A last line without a newline gets one. */
const GByteArray *secrets_take(Secrets *secrets, const uint8_t *key_log, size_t length);
/* There is an interface: what waited for one, and nothing waits from now on. Borrowed as above. */
const GByteArray *secrets_release(Secrets *secrets);
