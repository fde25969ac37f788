// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/filter.h"

#include <pcap/pcap.h>
#include <string.h>

#include "common/pcapng/pcapng.h"

/* A link type as files have it (https://www.tcpdump.org/linktypes.html) and as libpcap calls it
 * here. */
static const struct {
    uint16_t link_type;
    int dlt;
} link_types[] = {
    {1, DLT_EN10MB},
    {101, DLT_RAW},
    {113, DLT_LINUX_SLL},
    {276, DLT_LINUX_SLL2},
};

struct Filter {
    struct bpf_program
        programs[G_N_ELEMENTS(link_types)]; /* without instructions: accepts nothing */
};

GQuark filter_error_quark(void)
{
    return g_quark_from_static_string("remora-filter-error");
}

/* libpcap's message in *ret_error (static size) on failure. */
static bool compile(const char *expression, int dlt, struct bpf_program *ret,
                    char ret_error[PCAP_ERRBUF_SIZE])
{
    pcap_t *handle = pcap_open_dead(dlt, PCAPNG_PACKET_MAX);
    bool compiled = handle && pcap_compile(handle, ret, expression, 1, PCAP_NETMASK_UNKNOWN) == 0;
    if (!compiled) {
        g_strlcpy(ret_error, handle ? pcap_geterr(handle) : "out of memory", PCAP_ERRBUF_SIZE);
        memset(ret, 0, sizeof(*ret));
    }
    if (handle) {
        pcap_close(handle);
    }
    return compiled;
}

Filter *filter_new(const char *expression, GError **error)
{
    size_t length = strlen(expression);
    if (length > FILTER_MAX) {
        g_set_error(error, FILTER_ERROR, FILTER_ERROR_LIMIT,
                    "filter of %zu bytes, at most %u are allowed", length, FILTER_MAX);
        return NULL;
    }
    char message[PCAP_ERRBUF_SIZE] = "";
    Filter *filter = g_new0(Filter, 1);
    bool any = false;
    for (size_t i = G_N_ELEMENTS(link_types); i-- > 0;) {
        any = compile(expression, link_types[i].dlt, &filter->programs[i], message) || any;
    }
    if (!any) {
        /* The message left is that for Ethernet, which came last. */
        g_set_error(
            error, FILTER_ERROR, FILTER_ERROR_SYNTAX,
            "filter \"%s\": %s; it must be a capture filter as in pcap-filter(7), for example "
            "\"tcp port 80 and host 10.0.0.1\" (display filters such as tcp.port == 80 are another "
            "language)",
            expression, message);
        return filter_free(filter);
    }
    return filter;
}

Filter *filter_free(Filter *filter)
{
    if (filter) {
        for (size_t i = 0; i < G_N_ELEMENTS(link_types); i++) {
            pcap_freecode(&filter->programs[i]);
        }
        g_free(filter);
    }
    return NULL;
}

bool filter_accepts(const Filter *filter, uint16_t link_type, const uint8_t *packet,
                    uint32_t captured_length, uint32_t original_length)
{
    for (size_t i = 0; i < G_N_ELEMENTS(link_types); i++) {
        if (link_types[i].link_type == link_type) {
            const struct bpf_insn *code = filter->programs[i].bf_insns;
            return code && bpf_filter(code, packet, original_length, captured_length) != 0;
        }
    }
    return false;
}
