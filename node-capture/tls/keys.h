// SPDX-License-Identifier: GPL-2.0-or-later
/* Where the secrets of TLS connections come from: hooks in the processes of pods, or a fake. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define TLS_KEYS_LINES_MAX 3840u /* bytes of lines told at once */

typedef struct TlsKeys TlsKeys;

typedef struct TlsKeysCallbacks {
    /* Lines of a key log (https://www.ietf.org/archive/id/draft-ietf-tls-keylogfile-02.html), each
     * with its newline, TLS_KEYS_LINES_MAX bytes at most, of a process in that network namespace.
     * `time_unix_ns`: when the first of them was made. Each line is told once. */
    void (*secrets)(uint64_t netns_inode, uint64_t time_unix_ns, const char *lines, size_t length,
                    void *userdata);
    /* Something is wrong, or well again (message NULL). */
    void (*problem)(const char *subject, const char *message, void *userdata);
} TlsKeysCallbacks;

typedef struct TlsKeysOps {
    const char *name;
    void (*free)(TlsKeys *keys); /* nothing is hooked any more, and no callback comes after it */
    /* The network namespaces whose processes' secrets are wanted from now on, in place of those
     * before; none: nothing stays hooked. Any thread; does not wait. */
    void (*follow)(TlsKeys *keys, const uint64_t *netns_inodes, size_t count);
} TlsKeysOps;

/* Callbacks come on a thread of the source's own. */
struct TlsKeys {
    const TlsKeysOps *ops;
};
