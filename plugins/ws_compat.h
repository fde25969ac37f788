// SPDX-License-Identifier: GPL-2.0-or-later
/* What differs between Wireshark 4.0, 4.2, 4.4 and 4.6, in one place. */
#pragma once

#include <wireshark.h>

#include <ws_version.h>

#include <epan/proto.h>

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

/* Of a field of text. Values are passed by themselves up to 4.2, by pointer after that. */
static inline const char *ws_value_string(const field_info *info)
{
#if WS_VERSION >= 404
    return fvalue_get_string(info->value);
#else
    return fvalue_get_string((fvalue_t *)&info->value);
#endif
}

/* Of a field of a whole number or a flag; 0 of any other. */
static inline int64_t ws_value_number(const field_info *info)
{
#if WS_VERSION >= 404
    fvalue_t *value = info->value;
#else
    fvalue_t *value = (fvalue_t *)&info->value;
#endif
    ftenum_t type = info->hfinfo->type;

    if (type == FT_BOOLEAN || type == FT_UINT40 || type == FT_UINT48 || type == FT_UINT56 ||
        type == FT_UINT64)
        return (int64_t)fvalue_get_uinteger64(value);
    if (type == FT_INT40 || type == FT_INT48 || type == FT_INT56 || type == FT_INT64)
        return fvalue_get_sinteger64(value);
    if (IS_FT_INT32(type))
        return fvalue_get_sinteger(value);
    return IS_FT_UINT32(type) || type == FT_FRAMENUM ? (int64_t)fvalue_get_uinteger(value) : 0;
}

/* Whether this is tshark, which asks for all that it wants before it reads. */
static inline bool ws_is_batch(void)
{
    return g_strcmp0(g_get_prgname(), "tshark") == 0;
}
