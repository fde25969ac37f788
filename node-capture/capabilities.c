// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/capabilities.h"

#include <errno.h>
#include <sys/capability.h>
#include <sys/stat.h>

#define FIRST_PID_NAMESPACE 0xEFFFFFFCu /* PROC_PID_INIT_INO, include/linux/proc_ns.h */

typedef struct Capability {
    cap_value_t capability;
    const char *name, *purpose;
    const char *without; /* NULL: nothing works */
    bool in_sys_admin;   /* kernel commits a17b53c4a4b5 and 980737282232: CAP_SYS_ADMIN will do */
} Capability;

static const Capability needed[] = {
    {CAP_NET_RAW, "CAP_NET_RAW", "to open capture sockets", NULL, false},
    {CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "to enter the network namespaces of pods (setns)", NULL,
     false},
    {CAP_SYS_PTRACE, "CAP_SYS_PTRACE", "to see in which network namespace a process is",
     "pods whose processes are of other users, or have more capabilities than remora-node, are "
     "not found",
     false},
    {CAP_NET_ADMIN, "CAP_NET_ADMIN",
     "to follow the node's conntrack and to attach hooks of control groups",
     "which pod answered for a service's address is not told, nor which processes are behind UDP "
     "sockets",
     false},
    {CAP_BPF, "CAP_BPF", "to load the programs that tell of new processes",
     "processes are looked through four times a second instead, so that a pod's first packets may "
     "be missing",
     true},
    {CAP_PERFMON, "CAP_PERFMON", "to attach the programs that tell of new processes",
     "processes are looked through four times a second instead, so that a pod's first packets may "
     "be missing",
     true},
};

static bool has(cap_t ours, cap_value_t capability)
{
    cap_flag_value_t effective = CAP_CLEAR;
    cap_get_flag(ours, capability, CAP_EFFECTIVE, &effective);
    return effective == CAP_SET;
}

static bool is_missing(cap_t ours, const Capability *capability)
{
    return !has(ours, capability->capability) &&
           !(capability->in_sys_admin && has(ours, CAP_SYS_ADMIN));
}

bool capabilities_check(GError **error)
{
    cap_t ours = cap_get_proc();
    if (!ours) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "capabilities cannot be read: %s", g_strerror(errno));
        return false;
    }
    g_autoptr(GString) missing = g_string_new(NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(needed); i++) {
        if (!needed[i].without && is_missing(ours, &needed[i])) {
            g_string_append_printf(missing, "%s%s %s", missing->len > 0 ? ", and " : "",
                                   needed[i].name, needed[i].purpose);
        }
    }
    cap_free(ours);
    if (missing->len > 0) {
        g_set_error(
            error, G_FILE_ERROR, G_FILE_ERROR_PERM,
            "missing %s; start remora-node as root, or grant it (systemd: AmbientCapabilities=, "
            "Kubernetes: securityContext.capabilities.add, a shell: setpriv or setcap)",
            missing->str);
        return false;
    }
    return true;
}

static void tell_host_pid(CapabilitiesProblem problem, void *userdata)
{
    struct stat status;
    if (stat("/proc/self/ns/pid", &status) == 0 && status.st_ino != FIRST_PID_NAMESPACE) {
        problem("hostPID",
                "remora-node is in a PID namespace of its own (hostPID: true is needed): it sees "
                "no processes of other pods, and so captures none",
                userdata);
    }
}

void capabilities_tell_missing(CapabilitiesProblem problem, void *userdata)
{
    tell_host_pid(problem, userdata);
    cap_t ours = cap_get_proc();
    for (size_t i = 0; ours && i < G_N_ELEMENTS(needed); i++) {
        if (needed[i].without && is_missing(ours, &needed[i])) {
            g_autofree char *message =
                g_strdup_printf("is missing, %s: %s", needed[i].purpose, needed[i].without);
            problem(needed[i].name, message, userdata);
        }
    }
    cap_free(ours);
}
