// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/uprobes.h"

#include <errno.h>
#include <linux/types.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <glib.h>

/* Of the kernel's include/uapi/linux/bpf.h since 6.6; older headers and libbpf do not have it. */
#define TRACE_UPROBE_MULTI  48
#define UPROBE_MULTI_RETURN 1u

struct link_create_uprobe_multi {
    __u32 program_fd, target_fd, attach_type, flags;
    __u64 path, offsets, reference_offsets, cookies;
    __u32 count, uprobe_flags, pid, spare;
};

struct Uprobes {
    int link_fd;              /* of a multi-probe, or -1 */
    unsigned count;           /* of `links` */
    struct bpf_link *links[]; /* of perf events */
};

void uprobes_prepare_multi(struct bpf_program *program)
{
    bpf_program__set_expected_attach_type(program, (enum bpf_attach_type)TRACE_UPROBE_MULTI);
}

static int attach_multi(const struct bpf_program *program, const char *path, const UprobesAt *at,
                        Uprobes *probes)
{
    struct link_create_uprobe_multi request = {
        .program_fd = (__u32)bpf_program__fd(program),
        .attach_type = TRACE_UPROBE_MULTI,
        .path = (__u64)(uintptr_t)path,
        .offsets = (__u64)(uintptr_t)at->offsets,
        .cookies = (__u64)(uintptr_t)at->cookies,
        .count = at->count,
        .uprobe_flags = at->at_return ? UPROBE_MULTI_RETURN : 0,
    };
    probes->link_fd = (int)syscall(__NR_bpf, BPF_LINK_CREATE, &request, sizeof(request));
    return probes->link_fd < 0 ? -errno : 0;
}

static int attach_single(const struct bpf_program *program, const char *path, const UprobesAt *at,
                         Uprobes *probes)
{
    for (unsigned i = 0; i < at->count; i++) {
        DECLARE_LIBBPF_OPTS(bpf_uprobe_opts, options, .bpf_cookie = at->cookies[i],
                            .retprobe = at->at_return);
        struct bpf_link *link =
            bpf_program__attach_uprobe_opts(program, -1, path, at->offsets[i], &options);
        if (!link) {
            return -errno;
        }
        probes->links[probes->count++] = link;
    }
    return 0;
}

int uprobes_attach(const struct bpf_program *multi, const struct bpf_program *single,
                   const UprobesAt *at, Uprobes **ret)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", at->fd);
    Uprobes *probes = g_malloc0(sizeof(*probes) + at->count * sizeof(struct bpf_link *));
    int error = multi ? attach_multi(multi, path, at, probes) : -EOPNOTSUPP;
    if (error) {
        probes->link_fd = -1;
    }
    if (error == -EINVAL || error == -EOPNOTSUPP) {
        error = attach_single(single, path, at, probes);
    }
    if (error) {
        uprobes_free(probes);
        return error;
    }
    *ret = probes;
    return 0;
}

Uprobes *uprobes_free(Uprobes *probes)
{
    if (probes) {
        for (unsigned i = 0; i < probes->count; i++) {
            bpf_link__destroy(probes->links[i]);
        }
        if (probes->link_fd >= 0) {
            close(probes->link_fd);
        }
        g_free(probes);
    }
    return NULL;
}
