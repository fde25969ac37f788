// SPDX-License-Identifier: GPL-2.0-or-later
#include "extcap/filter.h"

#include <pcap/pcap.h>
#include <string.h>

#include "extcap/options.h"

#define FILTER_MAX 4096 /* as in proto/README.md */
#define SNAP_MAX   262144

bool filter_check(const char *filter, GError **error)
{
    if (!filter || !*filter)
        return true;
    if (strlen(filter) > FILTER_MAX) {
        g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE,
                    "capture filter: %zu bytes long, at most %d can be sent to the nodes",
                    strlen(filter), FILTER_MAX);
        return false;
    }
    pcap_t *dead = pcap_open_dead(DLT_EN10MB, SNAP_MAX);
    if (!dead) {
        g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_FAILED,
                    "capture filter: libpcap has no memory");
        return false;
    }
    struct bpf_program program;
    bool ok = pcap_compile(dead, &program, filter, 1, PCAP_NETMASK_UNKNOWN) == 0;
    if (ok)
        pcap_freecode(&program);
    else
        g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE,
                    "capture filter '%s': %s (see man pcap-filter)", filter, pcap_geterr(dead));
    pcap_close(dead);
    return ok;
}
