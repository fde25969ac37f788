// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/api/kubernetes.pb-c.h"
#include "k8s-enrich/api/object.h"
#include "k8s-enrich/json-member.h"

/* The rules are those of inventory-object.c; only the form of the objects is another. */

#define SECOND_NS UINT64_C(1000000000)

typedef Remora__Kubernetes__ObjectMeta Meta;
typedef Remora__Kubernetes__Container Container;
typedef Remora__Kubernetes__ContainerStatus ContainerStatus;

/* Generated messages hold NULL for what is absent. */
static const char *text_of(const char *text)
{
    return text ? text : "";
}

static uint64_t time_of(EntityDraft *draft, const Remora__Kubernetes__Time *time, const char *key)
{
    if (!time || time->seconds <= 0)
        return 0;
    if ((uint64_t)time->seconds >= UINT64_MAX / SECOND_NS - 1 || time->nanos < 0 ||
        (uint64_t)time->nanos >= SECOND_NS) {
        problem_set(&draft->problem, "", key, "out of range");
        return 0;
    }
    return (uint64_t)time->seconds * SECOND_NS + (uint64_t)time->nanos;
}

static uint16_t port_of(EntityDraft *draft, int32_t port, const char *key)
{
    if (port >= 0 && port <= UINT16_MAX)
        return (uint16_t)port;
    problem_set(&draft->problem, "", key, "%d is no port", port);
    return 0;
}

static uint8_t protocol_of(EntityDraft *draft, const char *text)
{
    if (!text || !*text || g_str_equal(text, "TCP"))
        return 6;
    if (g_str_equal(text, "UDP"))
        return 17;
    if (g_str_equal(text, "SCTP"))
        return 132;
    problem_set(&draft->problem, "", "protocol", "\"%.60s\" is none of TCP, UDP and SCTP", text);
    return 0;
}

static const char *entry_value(Remora__Kubernetes__TextEntry *const *entries, size_t n,
                               const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (g_str_equal(text_of(entries[i]->key), key))
            return text_of(entries[i]->value);
    return NULL;
}

static const Remora__Kubernetes__OwnerReference *controller_of(const Meta *meta)
{
    for (size_t i = 0; i < meta->n_ownerreferences; i++)
        if (meta->ownerreferences[i]->controller)
            return meta->ownerreferences[i];
    return NULL;
}

static void read_meta(EntityDraft *draft, const Meta *meta, EntityKind kind)
{
    draft->entity.kind = kind;
    draft->entity.uid = text_of(meta->uid);
    draft->entity.name = text_of(meta->name);
    draft->entity.namespace_name = text_of(meta->namespace_);
    draft->entity.from_ns = time_of(draft, meta->creationtimestamp, "metadata.creationTimestamp");
    if (!*draft->entity.uid)
        problem_set(&draft->problem, "metadata", "uid", "missing");
    if (!*draft->entity.name)
        problem_set(&draft->problem, "metadata", "name", "missing");
    for (size_t i = 0; i < meta->n_labels; i++) {
        EntityLabel label = {text_of(meta->labels[i]->key), text_of(meta->labels[i]->value)};
        g_array_append_val(draft->labels, label);
    }
}

static Owner pod_owner(const Meta *meta, const char *node)
{
    const Remora__Kubernetes__OwnerReference *controller = controller_of(meta);
    if (!controller) {
        bool is_static =
            entry_value(meta->annotations, meta->n_annotations, OWNER_MIRROR_ANNOTATION);
        return (Owner){g_strdup(is_static ? "Node" : ""), g_strdup(is_static ? node : "")};
    }
    const char *hash = entry_value(meta->labels, meta->n_labels, OWNER_TEMPLATE_HASH_LABEL);
    return owner_by_name(text_of(controller->kind), text_of(controller->name), text_of(hash));
}

static void read_container(EntityDraft *draft, const Container *from,
                           ContainerStatus *const *statuses, size_t n_statuses)
{
    EntityContainer container = {text_of(from->name), "", text_of(from->image)};
    for (size_t i = 0; i < n_statuses; i++) {
        if (g_str_equal(text_of(statuses[i]->name), container.name)) {
            container.id = container_id_bare(text_of(statuses[i]->containerid));
            break;
        }
    }
    g_array_append_val(draft->containers, container);
    for (size_t i = 0; i < from->n_ports; i++) {
        EntityPort port = {
            .protocol = protocol_of(draft, from->ports[i]->protocol),
            .port = port_of(draft, from->ports[i]->containerport, "containerPort"),
            .name = text_of(from->ports[i]->name),
        };
        g_array_append_val(draft->ports, port);
    }
}

static void read_containers(EntityDraft *draft, const Remora__Kubernetes__PodSpec *spec,
                            const Remora__Kubernetes__PodStatus *status)
{
    for (size_t i = 0; i < spec->n_containers; i++)
        read_container(draft, spec->containers[i], status->containerstatuses,
                       status->n_containerstatuses);
    for (size_t i = 0; i < spec->n_initcontainers; i++)
        if (g_str_equal(text_of(spec->initcontainers[i]->restartpolicy), "Always"))
            read_container(draft, spec->initcontainers[i], status->initcontainerstatuses,
                           status->n_initcontainerstatuses);
    for (size_t i = 0; i < spec->n_ephemeralcontainers; i++)
        if (spec->ephemeralcontainers[i]->ephemeralcontainercommon)
            read_container(draft, spec->ephemeralcontainers[i]->ephemeralcontainercommon,
                           status->ephemeralcontainerstatuses,
                           status->n_ephemeralcontainerstatuses);
}

static uint64_t last_finished(EntityDraft *draft, ContainerStatus *const *statuses, size_t n)
{
    uint64_t last_ns = 0;
    for (size_t i = 0; i < n; i++)
        if (statuses[i]->state && statuses[i]->state->terminated)
            last_ns = MAX(last_ns, time_of(draft, statuses[i]->state->terminated->finishedat,
                                           "state.terminated.finishedAt"));
    return last_ns;
}

static void read_pod_end(EntityDraft *draft, const Meta *meta,
                         const Remora__Kubernetes__PodStatus *status)
{
    const char *phase = text_of(status->phase);
    if (!g_str_equal(phase, "Succeeded") && !g_str_equal(phase, "Failed"))
        return;
    uint64_t end_ns = last_finished(draft, status->containerstatuses, status->n_containerstatuses);
    uint64_t init_end_ns =
        last_finished(draft, status->initcontainerstatuses, status->n_initcontainerstatuses);
    end_ns = MAX(end_ns, init_end_ns);
    if (end_ns == 0)
        end_ns = time_of(draft, meta->deletiontimestamp, "metadata.deletionTimestamp");
    entity_draft_end(draft, end_ns);
}

static void read_pod(EntityDraft *draft, const Remora__Kubernetes__Pod *pod)
{
    static const Remora__Kubernetes__PodSpec no_spec = REMORA__KUBERNETES__POD_SPEC__INIT;
    static const Remora__Kubernetes__PodStatus no_status = REMORA__KUBERNETES__POD_STATUS__INIT;
    const Remora__Kubernetes__PodSpec *spec = pod->spec ? pod->spec : &no_spec;
    const Remora__Kubernetes__PodStatus *status = pod->status ? pod->status : &no_status;
    draft->entity.node = text_of(spec->nodename);
    draft->entity.host_network = spec->hostnetwork;
    draft->entity.from_ns =
        MAX(draft->entity.from_ns, time_of(draft, status->starttime, "status.startTime"));
    entity_draft_owner(draft, pod_owner(pod->metadata, draft->entity.node));
    entity_draft_address(draft, text_of(status->podip), "status", "podIP");
    for (size_t i = 0; i < status->n_podips; i++)
        entity_draft_address(draft, text_of(status->podips[i]->ip), "status", "podIPs");
    read_containers(draft, spec, status);
    read_pod_end(draft, pod->metadata, status);
}

static void read_service(EntityDraft *draft, const Remora__Kubernetes__Service *service)
{
    const Remora__Kubernetes__ServiceSpec *spec = service->spec;
    if (spec) {
        const char *cluster_ip = text_of(spec->clusterip);
        if (!g_str_equal(cluster_ip, "None"))
            entity_draft_address(draft, cluster_ip, "spec", "clusterIP");
        for (size_t i = 0; i < spec->n_clusterips; i++)
            if (!g_str_equal(spec->clusterips[i], "None"))
                entity_draft_address(draft, spec->clusterips[i], "spec", "clusterIPs");
        for (size_t i = 0; i < spec->n_externalips; i++)
            entity_draft_address(draft, spec->externalips[i], "spec", "externalIPs");
        for (size_t i = 0; i < spec->n_ports; i++) {
            EntityPort port = {
                .protocol = protocol_of(draft, spec->ports[i]->protocol),
                .port = port_of(draft, spec->ports[i]->port, "spec.ports.port"),
                .node_port = port_of(draft, spec->ports[i]->nodeport, "spec.ports.nodePort"),
                .name = text_of(spec->ports[i]->name),
            };
            g_array_append_val(draft->ports, port);
        }
    }
    const Remora__Kubernetes__LoadBalancerStatus *balancer =
        service->status ? service->status->loadbalancer : NULL;
    for (size_t i = 0; balancer && i < balancer->n_ingress; i++)
        entity_draft_address(draft, text_of(balancer->ingress[i]->ip), "status.loadBalancer",
                             "ingress");
}

static void read_node(EntityDraft *draft, const Remora__Kubernetes__Node *node)
{
    for (size_t i = 0; node->status && i < node->status->n_addresses; i++) {
        const Remora__Kubernetes__NodeAddress *address = node->status->addresses[i];
        const char *type = text_of(address->type);
        if (g_str_equal(type, "InternalIP") || g_str_equal(type, "ExternalIP"))
            entity_draft_address(draft, text_of(address->address), "status.addresses", "address");
    }
}

static void read_endpoint(EntityDraft *draft, const Remora__Kubernetes__Endpoint *from)
{
    EntityEndpoint endpoint = {
        .target_uid = from->targetref ? text_of(from->targetref->uid) : "",
        .node = text_of(from->nodename),
    };
    if (!*endpoint.node)
        endpoint.node =
            text_of(entry_value(from->topology, from->n_topology, "kubernetes.io/hostname"));
    for (size_t i = 0; i < from->n_addresses; i++) {
        IpAddress address;
        if (!parse_address(from->addresses[i], "endpoints", "addresses", &address, &draft->problem))
            continue;
        g_array_append_val(draft->endpoint_addresses, address);
        endpoint.n_addresses++;
    }
    g_array_append_val(draft->endpoints, endpoint);
}

static void read_endpoint_slice(EntityDraft *draft, const Remora__Kubernetes__EndpointSlice *slice)
{
    draft->entity.service_name = text_of(entry_value(
        slice->metadata->labels, slice->metadata->n_labels, "kubernetes.io/service-name"));
    for (size_t i = 0; i < slice->n_ports; i++) {
        EntityPort port = {
            .protocol = protocol_of(draft, slice->ports[i]->protocol),
            .port = port_of(draft, slice->ports[i]->port, "ports.port"),
            .name = text_of(slice->ports[i]->name),
        };
        g_array_append_val(draft->ports, port);
    }
    if (g_str_equal(text_of(slice->addresstype), "FQDN"))
        return;
    for (size_t i = 0; i < slice->n_endpoints; i++)
        read_endpoint(draft, slice->endpoints[i]);
}

static const ProtobufCMessageDescriptor *descriptor_of(EntityKind kind)
{
    switch (kind) {
    case ENTITY_POD:
        return &remora__kubernetes__pod__descriptor;
    case ENTITY_SERVICE:
        return &remora__kubernetes__service__descriptor;
    case ENTITY_NODE:
        return &remora__kubernetes__node__descriptor;
    case ENTITY_ENDPOINT_SLICE:
        return &remora__kubernetes__endpoint_slice__descriptor;
    case ENTITY_NAMESPACE:
        break;
    }
    return &remora__kubernetes__object__descriptor;
}

/* All kinds have their metadata as field 1, and so as their first member. */
static const Meta *meta_of(const ProtobufCMessage *message)
{
    static const Meta none = REMORA__KUBERNETES__OBJECT_META__INIT;
    const Meta *meta = ((const Remora__Kubernetes__Object *)message)->metadata;
    return meta ? meta : &none;
}
#define META_IS_FIRST(Type)                                            \
    _Static_assert(offsetof(Remora__Kubernetes__##Type, metadata) ==   \
                       offsetof(Remora__Kubernetes__Object, metadata), \
                   "metadata comes first")
META_IS_FIRST(Pod);
META_IS_FIRST(Service);
META_IS_FIRST(Node);
META_IS_FIRST(EndpointSlice);

static void read_object(EntityDraft *draft, const ProtobufCMessage *message, EntityKind kind)
{
    if (!((const Remora__Kubernetes__Object *)message)->metadata) {
        problem_set(&draft->problem, "", "metadata", "missing");
        return;
    }
    read_meta(draft, meta_of(message), kind);
    switch (kind) {
    case ENTITY_POD:
        read_pod(draft, (const Remora__Kubernetes__Pod *)message);
        break;
    case ENTITY_SERVICE:
        read_service(draft, (const Remora__Kubernetes__Service *)message);
        break;
    case ENTITY_NODE:
        read_node(draft, (const Remora__Kubernetes__Node *)message);
        break;
    case ENTITY_ENDPOINT_SLICE:
        read_endpoint_slice(draft, (const Remora__Kubernetes__EndpointSlice *)message);
        break;
    case ENTITY_NAMESPACE:
        break;
    }
}

void object_from_protobuf(ObjectReader *reader, const uint8_t *bytes, size_t length, ApiObject *ret)
{
    EntityKind kind = reader->resource->entity_kind;
    *ret = (ApiObject){NULL, NULL, "", "", "", "", ""};
    ProtobufCMessage *message = arena_unpack(reader->arena, descriptor_of(kind), bytes, length);
    if (!message) {
        object_set_problem(reader, ret, "is no such message, or too large");
        return;
    }
    const Meta *meta = meta_of(message);
    ret->resource_version = text_of(meta->resourceversion);
    ret->namespace_name = text_of(meta->namespace_);
    ret->name = text_of(meta->name);
    const Remora__Kubernetes__OwnerReference *controller = controller_of(meta);
    if (controller) {
        ret->controller_kind = text_of(controller->kind);
        ret->controller_name = text_of(controller->name);
    }
    if (!kind)
        return;
    entity_draft_reset(&reader->draft);
    read_object(&reader->draft, message, kind);
    object_finish_draft(reader, ret);
}
