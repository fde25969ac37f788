// SPDX-License-Identifier: GPL-2.0-or-later
/* Any bytes as an ELF file: the finder ends, stays inside, and what may be hooked is code of the
 * file. */
#include <stdlib.h>
#include <string.h>

#include "node-capture/tls/finder.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    TlsFile file;
    if (tls_find(data, size, &file) != 0) {
        return 0;
    }
    require(file.work <= file.work_limit);
    require(file.n_implementations <= TLS_IMPLEMENTATIONS_MAX);
    require(file.plaintext.count <= TLS_POINTS_MAX);
    require(memchr(file.plaintext.reason, 0, sizeof(file.plaintext.reason)));
    for (unsigned i = 0; i < file.plaintext.count; i++) {
        require(file.plaintext.points[i].offset < size);
        require(file.plaintext.points[i].kind < TLS_POINT_KINDS && file.plaintext.points[i].name);
    }
    for (unsigned i = 0; i < file.n_implementations; i++) {
        const TlsImplementation *found = &file.implementations[i];
        const TlsKeyLog *log = &found->key_log;
        require(memchr(found->reason, 0, sizeof(found->reason)) &&
                memchr(found->version, 0, sizeof(found->version)));
        require((found->verdict == TLS_HOOKED) == !*found->reason);
        if (found->verdict == TLS_HOOKED) {
            require(log->offset < size && log->random_chain.count <= TLS_CHAIN_MAX);
            require(tls_place_pt_regs(file.arch, log->secret) >= 0);
            require(tls_place_pt_regs(file.arch, log->label) >= 0);
        }
    }
    return 0;
}
