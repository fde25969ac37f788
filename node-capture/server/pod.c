// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/pod.h"

#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

Pod *pod_new(const Entity *entity, int netns_fd)
{
    Pod *pod = g_new0(Pod, 1);
    pod->entity = entity_ref(entity);
    pod->netns_fd = netns_fd;
    struct stat status;
    if (netns_fd >= 0 && fstat(netns_fd, &status) == 0) {
        pod->netns_inode = status.st_ino;
    }
    pod->interfaces =
        g_ptr_array_new_with_free_func((GDestroyNotify)(void (*)(void))node_interface_unref);
    pod->streams = g_ptr_array_new();
    return pod;
}

void pod_free(void *data)
{
    Pod *pod = data;
    entity_unref(pod->entity);
    if (pod->netns_fd >= 0) {
        close(pod->netns_fd);
    }
    g_free(pod->reason);
    g_ptr_array_unref(pod->interfaces);
    node_interface_unref(pod->plaintext);
    g_ptr_array_unref(pod->streams);
    g_free(pod);
}

Remora__V1__TargetState pod_state(const Pod *pod)
{
    if (pod->left_out && pod->absent) {
        return REMORA__V1__TARGET_STATE__TARGET_STATE_ABSENT;
    }
    if (pod->excluded || pod->left_out) {
        return REMORA__V1__TARGET_STATE__TARGET_STATE_EXCLUDED;
    }
    if (pod->reason) {
        return REMORA__V1__TARGET_STATE__TARGET_STATE_FAILED;
    }
    return pod->target_id ? REMORA__V1__TARGET_STATE__TARGET_STATE_CAPTURED
                          : REMORA__V1__TARGET_STATE__TARGET_STATE_IDLE;
}

char *pod_label(const Pod *pod)
{
    const Entity *entity = pod->entity;
    return entity_is_provisional(entity)
               ? g_strdup(entity->name)
               : g_strdup_printf("%s/%s", entity->namespace_name, entity->name);
}

void pod_set_reason(Pod *pod, const char *reason)
{
    if (g_strcmp0(pod->reason, reason) == 0) {
        return;
    }
    if (reason) {
        log_warning("pod %s/%s: %s", pod->entity->namespace_name, pod->entity->name, reason);
    }
    g_free(pod->reason);
    pod->reason = g_strdup(reason);
}

/* Packets of this pod are missing, nobody knows how many. */
static void tell_start_lost(const Pod *pod, Stream *stream, const char *reason, uint64_t from_ns,
                            uint64_t to_ns)
{
    g_autofree char *text =
        g_strdup_printf("%s/%s: %s", pod->entity->namespace_name, pod->entity->name, reason);
    QueueLoss loss = {.stage = REMORA__V1__LOSS_STAGE__LOSS_STAGE_CAPTURE_START,
                      .detail = g_ref_string_new(text),
                      .from_ns = from_ns,
                      .to_ns = to_ns,
                      .unknown = true};
    queue_loss(stream_lock(stream), &loss);
    stream_unlock(stream);
    g_ref_string_release(loss.detail);
}

static void tell_not_captured(const Pod *pod, Stream *stream)
{
    uint64_t now_ns = clock_unix_ns();
    tell_start_lost(pod, stream, pod->reason, now_ns, now_ns);
}

void pod_tell_missing(Pod *pod)
{
    for (guint i = 0; !pod->told && i < pod->streams->len; i++) {
        tell_not_captured(pod, g_ptr_array_index(pod->streams, i));
    }
    pod->told = true;
}

void pod_tell_late(const Pod *pod, Stream *stream, uint64_t since_ns)
{
    uint64_t now_ns = clock_unix_ns();
    uint64_t from_ns = MAX(since_ns, now_ns - stream_age_ns(stream));
    if (from_ns < now_ns) {
        tell_start_lost(pod, stream, "was noticed late", from_ns, now_ns);
    }
}

bool pod_is_missing(const Pod *pod)
{
    return pod->target_id == 0 && pod->reason && !pod->entity->host_network && pod->settle_ns == 0;
}

void pod_subscribe(Pod *pod, Stream *stream)
{
    g_ptr_array_add(pod->streams, stream);
    if (pod_is_missing(pod)) {
        tell_not_captured(pod, stream);
    }
    for (guint i = 0; i < pod->interfaces->len; i++) {
        queue_interface(stream_lock(stream), g_ptr_array_index(pod->interfaces, i));
        stream_unlock(stream);
    }
}
