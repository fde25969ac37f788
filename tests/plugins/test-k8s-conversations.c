// SPDX-License-Identifier: GPL-2.0-or-later
/* The display filter that Wireshark makes of a row of the conversation and endpoint windows. */
#include "plugins/ws_compat.h"

#include <glib.h>

#include <epan/conversation_table.h>
#include <epan/dfilter/dfilter.h>
#include <epan/epan.h>
#include <epan/packet.h>
#include <wiretap/wtap.h>
#include <wsutil/filesystem.h>
#include <wsutil/privileges.h>
#include <wsutil/wslog.h>

#include "plugins/packet-k8s.h"

#define FRONTEND "shop/frontend-6c9f7d5b8-x2x4z"
#define PEER     "2001:db8::1"

static register_ct_t *table(void)
{
    return get_conversation_by_proto_id(proto_get_id_by_filter_name("k8s"));
}

/* Hands one packet from FRONTEND to PEER to a table. */
static void feed(tap_packet_cb callback, conv_hash_t *hash)
{
    static frame_data frame = {.pkt_len = 100};
    packet_info pinfo = {.fd = &frame};
    K8sTap tap;

    set_address(&tap.src, AT_STRINGZ, sizeof(FRONTEND), FRONTEND);
    set_address(&tap.dst, AT_STRINGZ, sizeof(PEER), PEER);
    callback(hash, &pinfo, NULL, &tap, 0);
}

static void assert_compiles(const char *filter)
{
    dfilter_t *compiled = NULL;

    if (!dfilter_compile(filter, &compiled, NULL) || !compiled)
        g_error("not a display filter: %s", filter);
    dfilter_free(compiled);
}

static void test_conversation_filters(void)
{
    conv_hash_t hash = {0};
    char *filter;

    g_assert_true(get_conversation_hide_ports(table()));
    feed(get_conversation_packet_func(table()), &hash);
    g_assert_cmpuint(hash.conv_array->len, ==, 1);
    conv_item_t *item = &g_array_index(hash.conv_array, conv_item_t, 0);

    /* Which of the two is A is Wireshark's choice. */
    bool frontend_is_a = strcmp(item->src_address.data, FRONTEND) == 0;
    const char *a = frontend_is_a ? FRONTEND : PEER;
    const char *b = frontend_is_a ? PEER : FRONTEND;
    const struct {
        conv_direction_e direction;
        const char *field, *name, *second_field, *second_name;
    } cases[] = {
        {CONV_DIR_A_TO_FROM_B, "k8s.name", a, "k8s.name", b},
        {CONV_DIR_A_TO_B, "k8s.src.name", a, "k8s.dst.name", b},
        {CONV_DIR_A_FROM_B, "k8s.dst.name", a, "k8s.src.name", b},
        {CONV_DIR_A_TO_FROM_ANY, "k8s.name", a, NULL, NULL},
        {CONV_DIR_A_TO_ANY, "k8s.src.name", a, NULL, NULL},
        {CONV_DIR_A_FROM_ANY, "k8s.dst.name", a, NULL, NULL},
        {CONV_DIR_ANY_TO_FROM_B, "k8s.name", b, NULL, NULL},
        {CONV_DIR_ANY_TO_B, "k8s.dst.name", b, NULL, NULL},
        {CONV_DIR_ANY_FROM_B, "k8s.src.name", b, NULL, NULL},
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        char *expected = g_strdup_printf("%s==\"%s\"", cases[i].field, cases[i].name);

        if (cases[i].second_field) {
            char *both = g_strdup_printf("%s && %s==\"%s\"", expected, cases[i].second_field,
                                         cases[i].second_name);

            g_free(expected);
            expected = both;
        }
        filter = get_conversation_filter(item, cases[i].direction);
        g_assert_cmpstr(filter, ==, expected);
        assert_compiles(filter);
        g_free(filter);
        g_free(expected);
    }
    reset_conversation_table_data(&hash);
}

static void test_endpoint_filters(void)
{
    conv_hash_t hash = {0};

    feed(get_endpoint_packet_func(table()), &hash);
    g_assert_cmpuint(hash.conv_array->len, ==, 2);
    for (unsigned i = 0; i < hash.conv_array->len; i++) {
        endpoint_item_t *item = &g_array_index(hash.conv_array, endpoint_item_t, i);
        const char *name = i == 0 ? FRONTEND : PEER;
        char *expected = g_strdup_printf("k8s.name==\"%s\"", name);
        char *filter = get_endpoint_filter(item);

        g_assert_cmpstr(filter, ==, expected);
        assert_compiles(filter);
        g_assert_cmpuint(item->tx_bytes, ==, i == 0 ? 100 : 0);
        g_assert_cmpuint(item->rx_bytes, ==, i == 0 ? 0 : 100);
        wmem_free(NULL, filter);
        g_free(expected);
    }
    reset_endpoint_table_data(&hash);
}

int main(int argc, char **argv)
{
    static proto_plugin k8s = {
        .register_protoinfo = proto_register_k8s,
        .register_handoff = proto_reg_handoff_k8s,
    };
    const bool load_plugins = false;

    g_test_init(&argc, &argv, NULL);
    ws_log_init("test-k8s-conversations", NULL);
    init_process_policies();
    g_free(configuration_init(argv[0], NULL));
    wtap_init(load_plugins);
    proto_register_plugin(&k8s);
    if (!epan_init(NULL, NULL, load_plugins))
        g_error("epan_init");
    g_test_add_func("/conversations/filters", test_conversation_filters);
    g_test_add_func("/conversations/endpoint-filters", test_endpoint_filters);
    int result = g_test_run();
    epan_cleanup();
    wtap_cleanup();
    return result;
}
