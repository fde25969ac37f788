// SPDX-License-Identifier: GPL-2.0-or-later
/* Kubernetes identity of both ends of a packet, from the pcapng option that Remora writes
 * (docs/pcapng-identity.md). A postdissector: the packet itself is not looked at but for the
 * addresses of ends that have no name. */
#include "plugins/ws_compat.h"

#include "plugins/packet-k8s.h"

#include <errno.h>

#include <epan/charsets.h>
#include <epan/expert.h>
#include <epan/packet.h>
#include <epan/tap.h>
#include <epan/to_str.h>

#include "plugins/entities.h"
#include "plugins/k8s-conversations.h"
#include "plugins/names.h"
#include "plugins/packet-option.h"
#include "plugins/plaintext.h"
#include "plugins/tls-ports.h"
#include "plugins/tls-source.h"

/* What is said of an end. Each is registered for the source, for the destination and, hidden in the
 * tree, for either. */
typedef enum EndField {
    END_NAME,
    END_TYPE,
    END_NAMESPACE,
    END_POD,
    END_POD_UID,
    END_SERVICE,
    END_SERVICE_NAMESPACE,
    END_NODE,
    END_OWNER_TYPE,
    END_OWNER_NAME,
    END_CONTAINER,
    END_CONTAINER_IMAGE,
    END_PROCESS_NAME,
    END_PROCESS_PID,
    END_LABEL,
    END_FIELDS
} EndField;

enum { EITHER = K8S_DIRECTIONS };

static int proto_k8s;
static int hf_end[K8S_DIRECTIONS + 1][END_FIELDS];
static int
    hf_packet[IDENTITY_L7 - IDENTITY_CLUSTER + 1]; /* by IdentityType, from IDENTITY_CLUSTER */
static int hf_flow_id;
static int ett_k8s = -1;
static int ett_end[K8S_DIRECTIONS] = {-1, -1};
static expert_field ei_malformed;
static expert_field ei_version;
static int k8s_tap;
static int expert_tap;

static const value_string type_names[] = {
    {IDENTITY_PEER_UNKNOWN, "unknown"},   {IDENTITY_PEER_POD, "pod"},
    {IDENTITY_PEER_SERVICE, "service"},   {IDENTITY_PEER_NODE, "node"},
    {IDENTITY_PEER_EXTERNAL, "external"}, {0, NULL},
};

/* " (service catalog)" where the name does not tell it already. */
static const char *service_note(packet_info *pinfo, const K8sEnd *end)
{
    const IdentityTlv *own = &end->text[IDENTITY_SERVICE_NAMESPACE];
    const IdentityTlv *namespace = &end->text[IDENTITY_NAMESPACE];
    const IdentityTlv *service = &end->text[IDENTITY_SERVICE];
    static const IdentityTlv none = {0};

    if (end->type == IDENTITY_PEER_SERVICE || service->length == 0)
        return "";
    if (own->length == 0 || (own->length == namespace->length &&
                             memcmp(own->value, namespace->value, own->length) == 0))
        own = &none;
    return wmem_strdup_printf(pinfo->pool, " (service %s)",
                              k8s_qualified_name(pinfo, own, service));
}

/* Where the fields of an end go. */
typedef struct EndTree {
    packet_info *pinfo;
    tvbuff_t *tvb;
    proto_tree *tree;
    K8sDirection direction;
} EndTree;

/* A filter or a column mostly wants one field of many, so nothing is made of the others. */
static bool is_wanted(const EndTree *end_tree, EndField field)
{
    return proto_field_is_referenced(end_tree->tree, hf_end[end_tree->direction][field]) ||
           proto_field_is_referenced(end_tree->tree, hf_end[EITHER][field]);
}

static proto_item *add_string(const EndTree *to, EndField field, const char *text)
{
    proto_item *item, *either;

    item = proto_tree_add_string(to->tree, hf_end[to->direction][field], to->tvb, 0, 0, text);
    proto_item_set_generated(item);
    either = proto_tree_add_string(to->tree, hf_end[EITHER][field], to->tvb, 0, 0, text);
    proto_item_set_generated(either);
    proto_item_set_hidden(either);
    return item;
}

static void add_uint(const EndTree *to, EndField field, uint32_t value)
{
    proto_item *item;

    item = proto_tree_add_uint(to->tree, hf_end[to->direction][field], to->tvb, 0, 0, value);
    proto_item_set_generated(item);
    item = proto_tree_add_uint(to->tree, hf_end[EITHER][field], to->tvb, 0, 0, value);
    proto_item_set_generated(item);
    proto_item_set_hidden(item);
}

static void add_text(const EndTree *to, EndField field, const IdentityTlv *tlv)
{
    if (tlv->length > 0 && is_wanted(to, field))
        add_string(to, field, k8s_text(to->pinfo, tlv));
}

/* Where the packet does not say which container it is of, every container of the pod is named. */
static void add_containers(const EndTree *to, const IdentityTlv *tlv,
                           const K8sAttributes *attributes)
{
    const char *own = k8s_text(to->pinfo, tlv);

    if (own)
        add_string(to, END_CONTAINER, own);
    for (unsigned i = 0; attributes && i < attributes->n_containers; i++) {
        const K8sContainer *container = &attributes->containers[i];

        if (own && strcmp(own, container->name) != 0)
            continue;
        if (!own)
            add_string(to, END_CONTAINER, container->name);
        if (container->image)
            add_string(to, END_CONTAINER_IMAGE, container->image);
    }
}

static void add_end(const EndTree *to, const K8sEnd *end)
{
    const K8sAttributes *attributes =
        end->entity ? k8s_entities_lookup(end->entity, to->pinfo->num) : NULL;
    const IdentityTlv *text = end->text;

    add_uint(to, END_TYPE, end->type);
    add_text(to, END_NAMESPACE, &text[IDENTITY_NAMESPACE]);
    add_text(to, END_POD, &text[IDENTITY_POD]);
    if (attributes && attributes->uid && end->type == IDENTITY_PEER_POD)
        add_string(to, END_POD_UID, attributes->uid);
    add_text(to, END_SERVICE, &text[IDENTITY_SERVICE]);
    if (text[IDENTITY_SERVICE].length > 0)
        add_text(to, END_SERVICE_NAMESPACE, k8s_service_namespace(end));
    add_text(to, END_NODE, &text[IDENTITY_NODE]);
    add_text(to, END_OWNER_TYPE, &text[IDENTITY_OWNER_TYPE]);
    add_text(to, END_OWNER_NAME, &text[IDENTITY_OWNER_NAME]);
    if (is_wanted(to, END_CONTAINER) || is_wanted(to, END_CONTAINER_IMAGE))
        add_containers(to, &text[IDENTITY_CONTAINER], attributes);
    add_text(to, END_PROCESS_NAME, &text[IDENTITY_PROCESS_NAME]);
    if (end->has_pid)
        add_uint(to, END_PROCESS_PID, end->pid);
    if (attributes && is_wanted(to, END_LABEL)) {
        for (unsigned i = 0; i < attributes->n_labels; i++)
            add_string(to, END_LABEL, attributes->labels[i]);
    }
}

/* For people only; a filter's tree shows no text. */
static void set_title(proto_item *item, packet_info *pinfo, const K8sIdentity *identity,
                      const char *const *names)
{
    if (!item || !PTREE_DATA(item)->visible)
        return;
    proto_item_set_text(item, "Kubernetes: %s%s -> %s%s", names[K8S_SRC] ? names[K8S_SRC] : "?",
                        service_note(pinfo, &identity->end[K8S_SRC]),
                        names[K8S_DST] ? names[K8S_DST] : "?",
                        service_note(pinfo, &identity->end[K8S_DST]));
}

static proto_item *add_identity(proto_tree *tree, tvbuff_t *tvb, packet_info *pinfo,
                                const K8sIdentity *identity, const char *const *names)
{
    proto_item *item = proto_tree_add_item(tree, proto_k8s, tvb, 0, 0, ENC_NA);
    proto_tree *k8s_tree = proto_item_add_subtree(item, ett_k8s);

    proto_item_set_generated(item);
    set_title(item, pinfo, identity, names);
    for (unsigned i = 0; i < K8S_DIRECTIONS; i++) {
        EndTree to = {.pinfo = pinfo, .tvb = tvb, .tree = k8s_tree, .direction = i};

        /* The end's own name heads its subtree; an end without a name has no heading. */
        if (names[i])
            to.tree = proto_item_add_subtree(add_string(&to, END_NAME, names[i]), ett_end[i]);
        add_end(&to, &identity->end[i]);
    }
    if (identity->has_flow_id)
        proto_item_set_generated(
            proto_tree_add_uint64(k8s_tree, hf_flow_id, tvb, 0, 0, identity->flow_id));
    k8s_tls_add_fields(tvb, pinfo, k8s_tree, identity);
    for (unsigned i = 0; i < G_N_ELEMENTS(identity->packet); i++) {
        const IdentityTlv *tlv = &identity->packet[i];

        if (tlv->length > 0 && proto_field_is_referenced(k8s_tree, hf_packet[i]))
            proto_item_set_generated(
                proto_tree_add_string(k8s_tree, hf_packet[i], tvb, 0, 0, k8s_text(pinfo, tlv)));
    }
    return item;
}

static void tap_names(packet_info *pinfo, const char *const *names)
{
    K8sTap *tap;

    if (!have_tap_listener(k8s_tap) || !names[K8S_SRC] || !names[K8S_DST])
        return;
    tap = wmem_new0(pinfo->pool, K8sTap);
    set_address(&tap->src, AT_STRINGZ, (int)strlen(names[K8S_SRC]) + 1, names[K8S_SRC]);
    set_address(&tap->dst, AT_STRINGZ, (int)strlen(names[K8S_DST]) + 1, names[K8S_DST]);
    tap_queue_packet(k8s_tap, pinfo, tap);
}

static void show(tvbuff_t *tvb, packet_info *pinfo, proto_tree *tree, const K8sOption *option)
{
    K8sIdentity identity;
    const char *names[K8S_DIRECTIONS] = {NULL};
    proto_item *item;
    int r;

    r = k8s_identity_decode(option->last.at, option->last.length, &identity);
    if (r == -EPROTO) {
        item = proto_tree_add_item(tree, proto_k8s, tvb, 0, 0, ENC_NA);
        proto_item_set_generated(item);
        expert_add_info(pinfo, item, &ei_version);
        return;
    }
    if (option->count > 1)
        k8s_option_text(option, IDENTITY_L7, &identity.packet[IDENTITY_L7 - IDENTITY_CLUSTER]);
    for (unsigned i = 0; i < K8S_DIRECTIONS; i++) {
        EndTree to = {.tree = tree, .direction = i};

        if (have_tap_listener(k8s_tap) || is_wanted(&to, END_NAME))
            names[i] = k8s_end_name(pinfo, &identity.end[i], i);
    }
    item = add_identity(tree, tvb, pinfo, &identity, names);
    if (r < 0)
        expert_add_info(pinfo, item, &ei_malformed);
    tap_names(pinfo, names);
}

static int dissect_k8s(tvbuff_t *tvb, packet_info *pinfo, proto_tree *tree, void *data _U_)
{
    K8sOption option;

    if (!k8s_option_find(pinfo, &option))
        return 0;
    if ((option.flags & IDENTITY_FLAG_ATTRIBUTES) && !PINFO_FD_VISITED(pinfo))
        k8s_entities_learn(pinfo->num, option.last.at, option.last.length);
    k8s_tls_follow(pinfo, option.last.at, option.last.length);
    /* Most packets of a plain listing end here. */
    if (!proto_field_is_referenced(tree, proto_k8s))
        tree = NULL;
    if (tree || have_tap_listener(k8s_tap) || have_tap_listener(expert_tap))
        show(tvb, pinfo, tree, &option);
    return tvb_captured_length(tvb);
}

/* clang-format off */
#define END_HF(field, direction, title, prefix, abbrev, type, display, strings, blurb) \
    {&hf_end[direction][field], {title, "k8s." prefix abbrev, type, display, strings, 0, blurb, HFILL}}

/* Wireshark's names begin with a capital: the title of the field by itself, and behind the direction. */
#define END_HFS(field, title, lower, abbrev, type, display, strings, blurb) \
    END_HF(field, K8S_SRC, "Source " lower, "src.", abbrev, type, display, strings, blurb " of the source"), \
    END_HF(field, K8S_DST, "Destination " lower, "dst.", abbrev, type, display, strings, blurb " of the destination"), \
    END_HF(field, EITHER, title, "", abbrev, type, display, strings, blurb " of either end")

#define END_STRING(field, title, lower, abbrev, blurb) \
    END_HFS(field, title, lower, abbrev, FT_STRING, BASE_NONE, NULL, blurb)

#define PACKET_HF(type, title, abbrev, blurb) \
    {&hf_packet[type - IDENTITY_CLUSTER], {title, abbrev, FT_STRING, BASE_NONE, NULL, 0, blurb, HFILL}}

static hf_register_info hf[] = {
    END_HF(END_NAME, K8S_SRC, "Source", "src.", "name", FT_STRING, BASE_NONE, NULL,
           "Short name of the source: namespace/pod, namespace/service, node, or the address"),
    END_HF(END_NAME, K8S_DST, "Destination", "dst.", "name", FT_STRING, BASE_NONE, NULL,
           "Short name of the destination: namespace/pod, namespace/service, node, or the address"),
    END_HF(END_NAME, EITHER, "Source or destination", "", "name", FT_STRING, BASE_NONE, NULL,
           "Short name of either end: namespace/pod, namespace/service, node, or the address"),
    END_HFS(END_TYPE, "Type", "type", "type", FT_UINT8, BASE_DEC, VALS(type_names), "Type"),
    END_STRING(END_NAMESPACE, "Namespace", "namespace", "namespace.name", "Namespace"),
    END_STRING(END_POD, "Pod", "pod", "pod.name", "Pod name"),
    END_STRING(END_POD_UID, "Pod UID", "pod UID", "pod.uid", "Pod UID"),
    END_STRING(END_SERVICE, "Service", "service", "service.name", "Service that was called, or that answers,"),
    END_STRING(END_SERVICE_NAMESPACE, "Service namespace", "service namespace", "service.namespace", "Namespace of the service"),
    END_STRING(END_NODE, "Node", "node", "node.name", "Node"),
    END_STRING(END_OWNER_TYPE, "Owner type", "owner type", "owner.type", "Kind of the workload (Deployment, DaemonSet, ...)"),
    END_STRING(END_OWNER_NAME, "Owner", "owner", "owner.name", "Workload"),
    END_STRING(END_CONTAINER, "Container", "container", "container.name", "Container, or every container of the pod,"),
    END_STRING(END_CONTAINER_IMAGE, "Container image", "container image", "container.image", "Image of the container"),
    END_STRING(END_PROCESS_NAME, "Process", "process", "process.name", "Process name"),
    END_HFS(END_PROCESS_PID, "Process ID", "process ID", "process.pid", FT_UINT32, BASE_DEC, NULL, "Process ID"),
    END_STRING(END_LABEL, "Label", "label", "label", "Label, as key=value,"),
    PACKET_HF(IDENTITY_CLUSTER, "Cluster", "k8s.cluster.name", "Cluster where the packet was captured"),
    PACKET_HF(IDENTITY_CAPTURE_NODE, "Capture node", "k8s.capture.node.name", "Node that saw the packet"),
    PACKET_HF(IDENTITY_CAPTURE_DEVICE, "Capture device", "k8s.capture.device", "Network device in the capturing pod"),
    PACKET_HF(IDENTITY_CAPTURE_POD, "Capture pod", "k8s.capture.pod.name", "Pod that saw the packet, as namespace/name"),
    {&hf_flow_id, {"Flow", "k8s.flow.id", FT_UINT64, BASE_HEX, NULL, 0, "The connection, on each of its legs where its addresses are rewritten on the way", HFILL}},
    PACKET_HF(IDENTITY_L7, "Protocol inside", "k8s.l7", "Protocol that a plaintext interface carries"),
};

static ei_register_info ei[] = {
    {&ei_malformed, {"k8s.malformed", PI_MALFORMED, PI_ERROR, "Malformed identity option", EXPFILL}},
    {&ei_version, {"k8s.unknown_version", PI_UNDECODED, PI_WARN, "Identity option of a version that this plugin does not know", EXPFILL}},
};
/* clang-format on */

void proto_register_k8s(void)
{
    static int *ett[] = {&ett_k8s, &ett_end[K8S_SRC], &ett_end[K8S_DST]};

    proto_k8s = proto_register_protocol("Kubernetes Identity", "Kubernetes", "k8s");
    proto_register_field_array(proto_k8s, hf, array_length(hf));
    proto_register_subtree_array(ett, array_length(ett));
    expert_register_field_array(expert_register_protocol(proto_k8s), ei, array_length(ei));
    k8s_entities_register();
    k8s_tap = register_tap("k8s");
    k8s_conversations_register(proto_k8s);
    plaintext_register();
    k8s_tls_register(proto_k8s);
}

void proto_reg_handoff_k8s(void)
{
    k8s_tls_handoff();
    register_postdissector(create_dissector_handle(dissect_k8s, proto_k8s));
    plaintext_register_handoff();
    tls_ports_register();
    /* Wireshark registers this one only when a file is opened, and under a name there is but one.
     */
    expert_tap = register_tap("expert");
}
