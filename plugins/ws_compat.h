// SPDX-License-Identifier: GPL-2.0-or-later
/* What differs between Wireshark 4.0, 4.2, 4.4 and 4.6, in one place. */
#pragma once

#include <wireshark.h>

#include <ws_version.h>

#include <wiretap/wtap_opttypes.h>

#define WS_VERSION (WIRESHARK_VERSION_MAJOR * 100 + WIRESHARK_VERSION_MINOR)

/* GLib's types left the callback signatures in 4.4. */
#if WS_VERSION >= 404
typedef bool ws_bool;
#else
typedef gboolean ws_bool;
#endif

/* plugin_describe() is asked for from 4.2 on; WS_PLUGIN_DESC_DISSECTOR came with it. */
#if WS_VERSION >= 402
#include <wsutil/plugins.h>
#define WS_HAVE_PLUGIN_DESCRIBE 1
#else
#define WS_HAVE_PLUGIN_DESCRIBE 0
#endif

/* The value of a binary custom option. Up to 4.4 it shares a structure with the text ones. */
static inline uint32_t ws_custom_binary(const wtap_optval_t *value, const uint8_t **ret_bytes,
                                        size_t *ret_length)
{
#if WS_VERSION >= 406
    *ret_bytes = (const uint8_t *)value->custom_binaryval.data.custom_data;
    *ret_length = value->custom_binaryval.data.custom_data_len;
    return value->custom_binaryval.pen;
#else
    *ret_bytes = (const uint8_t *)value->custom_opt.data.generic_data.custom_data;
    *ret_length = value->custom_opt.data.generic_data.custom_data_len;
    return value->custom_opt.pen;
#endif
}

/* The section's number is asked for from 4.4 on. */
#if WS_VERSION >= 404
#define ws_interface_name(pinfo)                                            \
    epan_get_interface_name(                                                \
        (pinfo)->epan, (pinfo)->rec->rec_header.packet_header.interface_id, \
        (pinfo)->rec->presence_flags &WTAP_HAS_SECTION_NUMBER ? (pinfo)->rec->section_number : 0)
#define ws_tvb_uint8 tvb_get_uint8
#else
#define ws_interface_name(pinfo) \
    epan_get_interface_name((pinfo)->epan, (pinfo)->rec->rec_header.packet_header.interface_id)
#define ws_tvb_uint8 tvb_get_guint8
#endif
