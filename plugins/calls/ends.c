// SPDX-License-Identifier: GPL-2.0-or-later
#include "plugins/ws_compat.h"

#include "plugins/calls/ends.h"

#include <string.h>

#include "plugins/calls/adapter.h"
#include "plugins/names.h"
#include "plugins/packet-option.h"

/* What ends are made of. */
typedef struct Source {
    K8sBytes option;
    address src, dst;
    bool from_client;
} Source;

static wmem_map_t *known; /* CallEnds, by content */
static wmem_map_t *made;  /* the same, by their Source: most packets have what others had */

static unsigned hash_ends(const void *ends)
{
    return wmem_strong_hash(ends, sizeof(CallEnds));
}

static gboolean same_ends(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(CallEnds)) == 0;
}

static unsigned hash_source(const void *key)
{
    const Source *source = key;
    unsigned hash = wmem_strong_hash(source->option.at, source->option.length);

    return add_address_to_hash(add_address_to_hash(hash, &source->src), &source->dst);
}

static gboolean same_source(const void *a, const void *b)
{
    const Source *one = a, *other = b;

    return one->from_client == other->from_client && one->option.length == other->option.length &&
           (one->option.length == 0 ||
            memcmp(one->option.at, other->option.at, one->option.length) == 0) &&
           addresses_equal(&one->src, &other->src) && addresses_equal(&one->dst, &other->dst);
}

static void keep_source(const Source *source, const CallEnds *ends)
{
    Source *kept = wmem_memdup(wmem_file_scope(), source, sizeof(*source));

    if (source->option.length)
        kept->option.at = wmem_memdup(wmem_file_scope(), source->option.at, source->option.length);
    copy_address_wmem(wmem_file_scope(), &kept->src, &source->src);
    copy_address_wmem(wmem_file_scope(), &kept->dst, &source->dst);
    wmem_map_insert(made, kept, (void *)ends);
}

static void take_end(packet_info *pinfo, const K8sEnd *end, K8sDirection direction,
                     const char **texts)
{
    const IdentityTlv *text = end->text;
    const IdentityTlv *type = &text[IDENTITY_OWNER_TYPE], *owner = &text[IDENTITY_OWNER_NAME];

    texts[CALL_END_NAME] = call_keep_text(k8s_end_name(pinfo, end, direction));
    texts[CALL_END_NAMESPACE] = call_keep_text(k8s_text(pinfo, &text[IDENTITY_NAMESPACE]));
    texts[CALL_END_POD] = call_keep_text(
        text[IDENTITY_POD].length
            ? k8s_qualified_name(pinfo, &text[IDENTITY_NAMESPACE], &text[IDENTITY_POD])
            : NULL);
    texts[CALL_END_NODE] = call_keep_text(k8s_text(pinfo, &text[IDENTITY_NODE]));
    if (owner->length && type->length)
        texts[CALL_END_OWNER] = call_keep_text(wmem_strdup_printf(
            pinfo->pool, "%s (%s)", k8s_qualified_name(pinfo, &text[IDENTITY_NAMESPACE], owner),
            k8s_text(pinfo, type)));
    if (text[IDENTITY_SERVICE].length)
        texts[CALL_END_SERVICE] = call_keep_text(
            k8s_qualified_name(pinfo, k8s_service_namespace(end), &text[IDENTITY_SERVICE]));
}

static const CallEnds *make_ends(packet_info *pinfo, const K8sBytes *option, bool from_client)
{
    K8sIdentity identity = {0};
    CallEnds ends, *kept;

    memset(&ends, 0, sizeof(ends)); /* gaps are compared, too */
    if (option->length)
        k8s_identity_decode(option->at, option->length, &identity);
    for (unsigned i = 0; i < CALL_SIDES; i++) {
        K8sDirection direction = (i == CALL_CLIENT) == from_client ? K8S_SRC : K8S_DST;

        take_end(pinfo, &identity.end[direction], direction, ends.text[i]);
        ends.type[i] = identity.end[direction].type;
    }
    kept = wmem_map_lookup(known, &ends);
    if (!kept) {
        kept = wmem_memdup(wmem_file_scope(), &ends, sizeof(ends));
        wmem_map_insert(known, kept, kept);
    }
    return kept;
}

const CallEnds *call_ends(packet_info *pinfo, bool from_client)
{
    Source source = {.src = pinfo->src, .dst = pinfo->dst, .from_client = from_client};
    const CallEnds *ends;
    K8sOption option;

    if (k8s_option_find(pinfo, &option))
        source.option = option.last;
    ends = wmem_map_lookup(made, &source);
    if (!ends) {
        ends = make_ends(pinfo, &source.option, from_client);
        keep_source(&source, ends);
    }
    return ends;
}

void call_ends_register(void)
{
    known = wmem_map_new_autoreset(wmem_epan_scope(), wmem_file_scope(), hash_ends, same_ends);
    made = wmem_map_new_autoreset(wmem_epan_scope(), wmem_file_scope(), hash_source, same_source);
}
