// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/capabilities.h"

#include <errno.h>
#include <sys/capability.h>

static const struct {
    cap_value_t capability;
    const char *name, *purpose;
} needed[] = {
    {CAP_NET_RAW, "CAP_NET_RAW", "to open capture sockets"},
    {CAP_SYS_ADMIN, "CAP_SYS_ADMIN", "to enter the network namespaces of pods (setns)"},
};

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
        cap_flag_value_t effective = CAP_CLEAR;
        cap_get_flag(ours, needed[i].capability, CAP_EFFECTIVE, &effective);
        if (effective != CAP_SET) {
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
