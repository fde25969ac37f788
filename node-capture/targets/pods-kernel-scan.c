// SPDX-License-Identifier: GPL-2.0-or-later
/* Looking through /proc: for what is there at the start, and in case that events were lost. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "node-capture/targets/pods-kernel-private.h"

static void stop_containers_without_process(PodWatch *watch)
{
    g_autoptr(GPtrArray) stopped = g_ptr_array_new();
    GHashTableIter pods, containers;
    Pod *pod;
    Container *container;
    g_hash_table_iter_init(&pods, watch->pods);
    while (g_hash_table_iter_next(&pods, NULL, (void **)&pod)) {
        g_hash_table_iter_init(&containers, pod->containers);
        while (g_hash_table_iter_next(&containers, NULL, (void **)&container)) {
            if (!pod_watch_has_process(container)) {
                g_ptr_array_add(stopped, container);
            }
        }
    }
    for (guint i = 0; i < stopped->len; i++) {
        pod_watch_stop_container(watch, stopped->pdata[i]);
    }
}

static void forget_unseen(PodWatch *watch)
{
    g_autoptr(GPtrArray) unseen = g_ptr_array_new();
    GHashTableIter iter;
    Process *process;
    g_hash_table_iter_init(&iter, watch->processes);
    while (g_hash_table_iter_next(&iter, NULL, (void **)&process)) {
        if (process->scan != watch->counters.scans) {
            g_ptr_array_add(unseen, process);
        }
    }
    for (guint i = 0; i < unseen->len; i++) {
        pod_watch_forget_process(watch, ((Process *)unseen->pdata[i])->pid);
    }
}

void pod_watch_tell_denied(PodWatch *watch)
{
    if (watch->denied != watch->denied_told) {
        watch->denied_told = watch->denied;
        pod_watch_tell_problem(watch, "processes of pods",
                               watch->denied
                                   ? "their network namespaces cannot be read: CAP_SYS_PTRACE is "
                                     "missing"
                                   : NULL);
    }
}

void pod_watch_scan(PodWatch *watch)
{
    int fd = openat(watch->proc_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = fd >= 0 ? fdopendir(fd) : NULL;
    if (!folder) {
        if (fd >= 0) {
            close(fd);
        }
        pod_watch_tell_problem(watch, "processes", "/proc cannot be read");
        return;
    }
    watch->counters.scans++;
    watch->denied = false;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (g_ascii_isdigit(entry->d_name[0])) {
            pod_watch_look_at_process(watch, (pid_t)atoi(entry->d_name));
        }
    }
    closedir(folder);
    forget_unseen(watch);
    stop_containers_without_process(watch);
}
