// SPDX-License-Identifier: GPL-2.0-or-later
/* A network namespace by its path, such as /run/netns/shop-cart: there, not there yet, or made
 * anew. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

typedef struct NetnsFile {
    char *path; /* owned */
    int fd;     /* the namespace; -1: none. Kept open, so that its inode number cannot be given to
                   another one meanwhile. */
    dev_t device;
    ino_t inode;
} NetnsFile;

typedef enum NetnsChange { NETNS_SAME, NETNS_APPEARED, NETNS_VANISHED, NETNS_REPLACED } NetnsChange;

/* Takes ownership of `path`. Nothing is opened before netns_file_check(). */
void netns_file_init(NetnsFile *file, char *path);
void netns_file_clear(NetnsFile *file);
/* Looks again. *ret_reason (g_free) says why there is no namespace; NULL if there is one. */
NetnsChange netns_file_check(NetnsFile *file, char **ret_reason);
