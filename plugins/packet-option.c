// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugins/packet-option.h"

#include <errno.h>
#include <string.h>

static ws_bool keep_option(wtap_block_t block _U_, unsigned id, wtap_opttype_e type _U_,
                           wtap_optval_t *value, void *userdata)
{
    K8sOption *ret = userdata;
    IdentityReader reader = {0};
    K8sBytes bytes;

    if (id != OPT_CUSTOM_BIN_COPY ||
        ws_custom_binary(value, &bytes.at, &bytes.length) != IDENTITY_ENTERPRISE)
        return true;
    if (identity_reader_init(&reader, bytes.at, bytes.length) == -ENOMSG)
        return true;
    if (ret->count++ == 0)
        ret->first = bytes;
    ret->last = bytes;
    ret->flags = reader.flags;
    return true;
}

bool k8s_option_find(packet_info *pinfo, K8sOption *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (pinfo->rec->rec_type != REC_TYPE_PACKET || !pinfo->rec->block)
        return false;
    wtap_block_foreach_option(pinfo->rec->block, keep_option, ret);
    return ret->count > 0;
}

static bool find_text(const K8sBytes *bytes, IdentityType type, IdentityTlv *ret)
{
    IdentityReader reader;
    IdentityTlv tlv;
    bool found = false;

    if (!bytes->at || identity_reader_init(&reader, bytes->at, bytes->length) < 0)
        return false;
    while (identity_next(&reader, &tlv) > 0) {
        if (tlv.type != type || tlv.scope != IDENTITY_PACKET || memchr(tlv.value, 0, tlv.length))
            continue;
        *ret = tlv;
        found = true;
    }
    return found;
}

bool k8s_option_text(const K8sOption *option, IdentityType type, IdentityTlv *ret)
{
    return find_text(&option->last, type, ret) || find_text(&option->first, type, ret);
}
