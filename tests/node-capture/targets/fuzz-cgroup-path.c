// SPDX-License-Identifier: GPL-2.0-or-later
/* First line: the prefix; the rest: /proc/PID/cgroup. */
#include <glib.h>
#include <stdint.h>
#include <string.h>

#include "node-capture/targets/cgroup-path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const CgroupPod *pod)
{
    size_t uid = strlen(pod->uid), container = strlen(pod->container);
    g_assert(uid == 32 || uid == 36);
    g_assert(strspn(pod->uid, "0123456789abcdef-") == uid);
    g_assert(container == 0 || container == 64);
    g_assert(strspn(pod->container, "0123456789abcdef") == container);
    g_assert(pod->hierarchy >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    const char *end = size > 0 ? memchr(text, '\n', size) : NULL;
    size_t length = end ? (size_t)(end - text) : 0;
    char *prefix = end ? g_strndup(text, length) : NULL;
    CgroupPod pod = {.uid = ""};
    if (end && cgroup_file_pod(end + 1, size - length - 1, prefix, &pod)) {
        check(&pod);
    }
    pod = (CgroupPod){.uid = ""};
    if (cgroup_path_pod(text, size, NULL, &pod)) {
        check(&pod);
    }
    g_free(prefix);
    return 0;
}
