// SPDX-License-Identifier: GPL-2.0-or-later
/* Source: Documentation/networking/proc_net_tcp.rst of the kernel. */
#include "node-capture/tls/listening.h"

#include <stdio.h>

#define STATE_LISTEN 0x0a

static bool is_listening_in(const char *path, uint16_t port)
{
    char line[512];
    bool found = false;
    FILE *file = fopen(path, "re");
    while (file && !found && fgets(line, sizeof(line), file)) {
        unsigned local, state;
        if (sscanf(line, "%*u: %*32[0-9A-Fa-f]:%4x %*32[0-9A-Fa-f]:%*4x %2x", &local, &state) ==
            2) {
            if (state != STATE_LISTEN) { /* those that listen come first */
                break;
            }
            found = local == port;
        }
    }
    if (file) {
        fclose(file);
    }
    return found;
}

bool tls_is_listening(uint32_t pid, uint16_t port)
{
    char path[48];
    snprintf(path, sizeof(path), "/proc/%u/net/tcp", pid);
    if (is_listening_in(path, port)) {
        return true;
    }
    snprintf(path, sizeof(path), "/proc/%u/net/tcp6", pid);
    return is_listening_in(path, port);
}
