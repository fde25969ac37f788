// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/targets/pod-events.h"

#include <errno.h>
#include <linux/types.h>
#include <sys/stat.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <glib.h>

#include "node-capture/bpf/pods.h"
#include "node-capture/bpf/pods.skel.h"

/* PROC_PID_INIT_INO in the kernel's include/linux/proc_ns.h. */
#define FIRST_PID_NAMESPACE 0xEFFFFFFCu

struct PodEvents {
    const PodEventsCallbacks *callbacks;
    void *userdata;
    struct pods_bpf *program;
    struct ring_buffer *ring;
};

static int on_record(void *userdata, void *data, size_t size)
{
    PodEvents *events = userdata;
    const struct pods_event *event = data;
    switch (event->kind) {
    case PODS_EXEC:
    case PODS_ATTACHED:
        events->callbacks->process((pid_t)event->pid, events->userdata);
        break;
    case PODS_EXIT:
        events->callbacks->exited((pid_t)event->pid, events->userdata);
        break;
    case PODS_EMPTY:
        events->callbacks->empty(event->hierarchy, (const char *)(event + 1), event->path_length,
                                 events->userdata);
        break;
    }
    return 0;
}

static char *explain(int error)
{
    if (error == -EPERM || error == -EACCES) {
        return g_strdup("CAP_BPF and CAP_PERFMON (CAP_SYS_ADMIN before Linux 5.8) are missing, or "
                        "BPF programs are forbidden here");
    }
    return g_strdup_printf("BPF programs cannot be loaded: %s (a kernel with BTF, 5.8 or later, is "
                           "needed)",
                           g_strerror(-error));
}

int pod_events_new(const PodEventsCallbacks *callbacks, void *userdata, PodEvents **ret,
                   char **ret_message)
{
    struct stat status;
    if (stat("/proc/self/ns/pid", &status) < 0 || status.st_ino != FIRST_PID_NAMESPACE) {
        *ret_message = g_strdup("this process is in a PID namespace of its own (hostPID: true is "
                                "needed)");
        return -ENOTSUP;
    }
    PodEvents *events = g_new0(PodEvents, 1);
    events->callbacks = callbacks;
    events->userdata = userdata;
    /* What goes wrong is told by us, in one sentence. */
    libbpf_print_fn_t print = libbpf_set_print(NULL);
    int error = 0;
    events->program = pods_bpf__open();
    if (!events->program) {
        error = -errno;
    }
    error = error ? error : pods_bpf__load(events->program);
    error = error ? error : pods_bpf__attach(events->program);
    if (!error) {
        events->ring =
            ring_buffer__new(bpf_map__fd(events->program->maps.events), on_record, events, NULL);
        error = events->ring ? 0 : -errno;
    }
    libbpf_set_print(print);
    if (error) {
        *ret_message = explain(error);
        pod_events_free(events);
        return error;
    }
    *ret = events;
    return 0;
}

PodEvents *pod_events_free(PodEvents *events)
{
    if (events) {
        ring_buffer__free(events->ring);
        pods_bpf__destroy(events->program);
        g_free(events);
    }
    return NULL;
}

int pod_events_fd(const PodEvents *events)
{
    return ring_buffer__epoll_fd(events->ring);
}

void pod_events_dispatch(PodEvents *events)
{
    ring_buffer__consume(events->ring);
}

uint64_t pod_events_lost(const PodEvents *events)
{
    return __atomic_load_n(&events->program->bss->lost, __ATOMIC_RELAXED);
}

uint64_t pod_events_skipped(const PodEvents *events)
{
    return __atomic_load_n(&events->program->bss->skipped, __ATOMIC_RELAXED);
}

bool pod_events_follow(PodEvents *events, pid_t pid, bool wanted)
{
    int map = bpf_map__fd(events->program->maps.processes);
    __u32 key = (__u32)pid;
    __u8 value = 1;
    return wanted ? bpf_map_update_elem(map, &key, &value, BPF_ANY) == 0
                  : bpf_map_delete_elem(map, &key) == 0;
}
