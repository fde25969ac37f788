// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/annotate-encode.h"

#include <glib.h>
#include <string.h>

#include "common/pcapng/pcapng.h"
#include "k8s-enrich/identity-option.h"

#define COMMENT_MAX \
    640u /* two "namespace/name" and a service, at most 253 bytes a name in Kubernetes */
#define LABEL_MAX (63u + 253u + 64u) /* key with prefix, "=", value */

_Static_assert((int)IDENTITY_PEER_POD == PEER_POD && (int)IDENTITY_PEER_SERVICE == PEER_SERVICE &&
                   (int)IDENTITY_PEER_NODE == PEER_NODE &&
                   (int)IDENTITY_PEER_EXTERNAL == PEER_EXTERNAL,
               "the option's peer types are the inventory's");

static void put_service(IdentityWriter *w, IdentityScope scope, const NamedEnd *end)
{
    if (!end->service)
        return;
    identity_put_text(w, IDENTITY_SERVICE, scope, end->service->name);
    bool same_namespace =
        end->entity && strcmp(end->entity->namespace_name, end->service->namespace_name) == 0;
    if (!same_namespace)
        identity_put_text(w, IDENTITY_SERVICE_NAMESPACE, scope, end->service->namespace_name);
}

static void put_attributes(IdentityWriter *w, IdentityScope scope, const Entity *entity)
{
    identity_put_text(w, IDENTITY_UID, scope, entity->uid);
    for (size_t i = 0; i < entity->n_containers; i++) {
        identity_put_text(w, IDENTITY_CONTAINER_NAME, scope, entity->containers[i].name);
        identity_put_text(w, IDENTITY_CONTAINER_IMAGE, scope, entity->containers[i].image);
    }
    for (size_t i = 0; i < entity->n_labels; i++) {
        char label[LABEL_MAX];
        int length = g_snprintf(label, sizeof label, "%s=%s", entity->labels[i].key,
                                entity->labels[i].value);
        if (length < (int)sizeof label) /* longer is nothing that Kubernetes would have let in */
            identity_put_text(w, IDENTITY_LABEL, scope, label);
    }
}

static void put_holder(IdentityWriter *w, IdentityScope scope, const NamedEnd *end)
{
    const Entity *pod = end->entity;
    if (end->is_held && *end->holder.container)
        identity_put_text(w, IDENTITY_CONTAINER, scope, end->holder.container);
    else if (pod->n_containers == 1)
        identity_put_text(w, IDENTITY_CONTAINER, scope, pod->containers[0].name);
    if (!end->is_held)
        return;
    identity_put_text(w, IDENTITY_PROCESS_NAME, scope, end->holder.process);
    if (end->holder.pid)
        identity_put_u32(w, IDENTITY_PROCESS_PID, scope, end->holder.pid);
    identity_put_text(w, IDENTITY_NO_SECRETS, scope, end->holder.no_secrets);
}

static void put_end(IdentityWriter *w, IdentityScope scope, const NamedEnd *end)
{
    const Entity *entity = end->entity;
    if (entity)
        identity_put_u64(w, IDENTITY_ENTITY, scope, entity->key);
    identity_put_u8(w, IDENTITY_PEER_TYPE, scope, (uint8_t)end->type);
    if (!entity) {
        put_service(w, scope, end);
        return;
    }
    identity_put_text(w, IDENTITY_NAMESPACE, scope, entity->namespace_name);
    switch (end->type) {
    case PEER_POD:
        identity_put_text(w, IDENTITY_POD, scope, entity->name);
        put_service(w, scope, end);
        identity_put_text(w, IDENTITY_NODE, scope, entity->node);
        identity_put_text(w, IDENTITY_OWNER_TYPE, scope, entity->owner_kind);
        identity_put_text(w, IDENTITY_OWNER_NAME, scope, entity->owner_name);
        put_holder(w, scope, end);
        break;
    case PEER_SERVICE:
        identity_put_text(w, IDENTITY_SERVICE, scope, entity->name);
        break;
    case PEER_NODE:
        identity_put_text(w, IDENTITY_NODE, scope, entity->name);
        put_service(w, scope, end);
        break;
    default:
        break;
    }
}

static void put_capture_point(IdentityWriter *w, const Names *names)
{
    const CapturePoint *point = names->point;
    bool named = point && *point->cluster;
    identity_put_text(w, IDENTITY_CLUSTER, IDENTITY_PACKET,
                      named ? point->cluster : names->cluster);
    if (names->flow_id)
        identity_put_u64(w, IDENTITY_FLOW_ID, IDENTITY_PACKET, names->flow_id);
    if (!point)
        return;
    identity_put_text(w, IDENTITY_CAPTURE_NODE, IDENTITY_PACKET, point->node);
    identity_put_text(w, IDENTITY_CAPTURE_DEVICE, IDENTITY_PACKET, point->device);
    if (names->capture_pod) {
        char pod[600];
        g_snprintf(pod, sizeof pod, "%s/%s", names->capture_pod->namespace_name,
                   names->capture_pod->name);
        identity_put_text(w, IDENTITY_CAPTURE_POD, IDENTITY_PACKET, pod);
    }
}

/* ---- The comment -----------------------------------------------------------------------------*/

static void describe_end(GString *out, const NamedEnd *end)
{
    const Entity *entity = end->entity;
    switch (end->type) {
    case PEER_POD:
        g_string_append_printf(out, "%s/%s", entity->namespace_name, entity->name);
        break;
    case PEER_SERVICE:
        g_string_append_printf(out, "service %s/%s", entity->namespace_name, entity->name);
        break;
    case PEER_NODE:
        g_string_append_printf(out, "node %s", entity ? entity->name : "?");
        break;
    case PEER_EXTERNAL:
        g_string_append(out, "external");
        break;
    default:
        g_string_append(out, "?");
        break;
    }
    if (end->service && end->service != entity)
        g_string_append_printf(out, " (service %s)", end->service->name);
}

static size_t encode_comment(const Names *names, uint8_t *out, size_t capacity)
{
    if (names->src.type == PEER_UNKNOWN && names->dst.type == PEER_UNKNOWN)
        return 0;
    g_autoptr(GString) text = g_string_new(NULL);
    describe_end(text, &names->src);
    g_string_append(text, " -> ");
    describe_end(text, &names->dst);
    int length = pcapng_encode_option(out, MIN(capacity, COMMENT_MAX), PCAPNG_OPT_COMMENT,
                                      text->str, text->len);
    return length > 0 ? (size_t)length : 0;
}

/* ---- All together ----------------------------------------------------------------------------*/

size_t names_encode(const Names *names, unsigned attributes, bool comment, uint8_t *out,
                    size_t capacity, bool *ret_overflow)
{
    /* The option's own header and the enterprise number stand in front of what the writer makes. */
    struct {
        uint8_t enterprise[4];
        uint8_t identity[IDENTITY_MAX];
    } value;
    value.enterprise[0] = IDENTITY_ENTERPRISE & 0xff;
    value.enterprise[1] = IDENTITY_ENTERPRISE >> 8 & 0xff;
    value.enterprise[2] = IDENTITY_ENTERPRISE >> 16 & 0xff;
    value.enterprise[3] = IDENTITY_ENTERPRISE >> 24;

    size_t comment_length = comment ? encode_comment(names, out, capacity) : 0;
    size_t room = capacity - comment_length - 8 - 3; /* option header, enterprise, padding */
    IdentityWriter w;
    identity_writer_init(&w, value.identity, MIN(room, sizeof value.identity));
    put_end(&w, IDENTITY_SRC, &names->src);
    put_end(&w, IDENTITY_DST, &names->dst);
    put_capture_point(&w, names);
    /* Last, so that it is these that do not fit. */
    if (attributes & NAMES_SRC)
        put_attributes(&w, IDENTITY_SRC, names->src.entity);
    if (attributes & NAMES_DST)
        put_attributes(&w, IDENTITY_DST, names->dst.entity);
    identity_set_flags(&w, (attributes ? IDENTITY_FLAG_ATTRIBUTES : 0) |
                               (names->secrets_asked ? IDENTITY_FLAG_SECRETS : 0));
    if (ret_overflow)
        *ret_overflow = w.overflow;
    int length = pcapng_encode_option(out + comment_length, capacity - comment_length,
                                      PCAPNG_OPT_CUSTOM_BINARY, &value, 4 + w.length);
    return comment_length + (length > 0 ? (size_t)length : 0);
}
