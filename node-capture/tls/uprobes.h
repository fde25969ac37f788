// SPDX-License-Identifier: GPL-2.0-or-later
/* Hangs a BPF program on places of a file: by one link for all where the kernel has that (Linux
 * 6.6), else by a perf event for each. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <bpf/libbpf.h>

typedef struct Uprobes Uprobes;

typedef struct UprobesAt {
    int fd;         /* of the file; used during the call */
    bool at_return; /* of the functions that begin there */
    unsigned count;
    const uint64_t *offsets; /* in the file */
    const uint64_t *cookies;
} UprobesAt;

/* Before the program is loaded: it is one for many places. */
void uprobes_prepare_multi(struct bpf_program *program);

/* `multi` may be NULL. Both have the same code. 0, or -errno: then none is attached. */
int uprobes_attach(const struct bpf_program *multi, const struct bpf_program *single,
                   const UprobesAt *at, Uprobes **ret);
/* Detaches. NULL is fine; returns NULL. */
Uprobes *uprobes_free(Uprobes *probes);
