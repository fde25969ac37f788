// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/inventory-object.h"

#include <string.h>

#include "k8s-enrich/entity-draft.h"
#include "k8s-enrich/json-member.h"

/* From an array of strings. */
static void add_addresses(EntityDraft *draft, const json_t *object, const char *parent,
                          const char *key)
{
    const json_t *array = member_array(object, parent, key, &draft->problem);
    size_t index;
    const json_t *element;
    json_array_foreach(array, index, element)
    {
        const char *text = json_string_value(element);
        if (!text)
            problem_set(&draft->problem, parent, key, "expected strings");
        else if (!g_str_equal(text, "None"))
            entity_draft_address(draft, text, parent, key);
    }
}

/* From an array of objects with a member `ip`; entries without one name a host. */
static void add_ips(EntityDraft *draft, const json_t *object, const char *parent, const char *key)
{
    const json_t *array = member_objects(object, parent, key, &draft->problem);
    size_t index;
    const json_t *element;
    json_array_foreach(array, index, element)
        entity_draft_address(draft, member_text(element, key, "ip", &draft->problem), parent, key);
}

static void read_metadata(EntityDraft *draft, const json_t *object)
{
    char **problem = &draft->problem;
    const json_t *metadata = member_object(object, "", "metadata", problem);
    if (!metadata)
        problem_set(problem, "", "metadata", "missing");
    draft->entity.uid = member_text(metadata, "metadata", "uid", problem);
    draft->entity.name = member_text(metadata, "metadata", "name", problem);
    draft->entity.namespace_name = member_text(metadata, "metadata", "namespace", problem);
    draft->entity.from_ns = member_time(metadata, "metadata", "creationTimestamp", problem);
    if (!*draft->entity.uid)
        problem_set(problem, "metadata", "uid", "missing");
    if (!*draft->entity.name)
        problem_set(problem, "metadata", "name", "missing");

    const json_t *labels = member_object(metadata, "metadata", "labels", problem);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)labels, key, value)
    {
        EntityLabel label = {key, member_text(labels, "metadata.labels", key, problem)};
        g_array_append_val(draft->labels, label);
    }
}

static void read_container_ports(EntityDraft *draft, const json_t *container)
{
    const char *parent = "spec.containers.ports";
    const json_t *ports = member_objects(container, "spec.containers", "ports", &draft->problem);
    size_t index;
    const json_t *element;
    json_array_foreach(ports, index, element)
    {
        EntityPort port = {
            .protocol = member_protocol(element, parent, &draft->problem),
            .port = member_port(element, parent, "containerPort", &draft->problem),
            .name = member_text(element, parent, "name", &draft->problem),
        };
        g_array_append_val(draft->ports, port);
    }
}

/* The runtime's id of a container, without the runtime's name in front ("containerd://"). */
static const char *container_id(EntityDraft *draft, const json_t *status, const char *statuses_key,
                                const char *name)
{
    const json_t *statuses = member_objects(status, "status", statuses_key, &draft->problem);
    size_t index;
    const json_t *element;
    json_array_foreach(statuses, index, element)
    {
        if (!g_str_equal(member_text(element, statuses_key, "name", &draft->problem), name))
            continue;
        const char *id = member_text(element, statuses_key, "containerID", &draft->problem);
        return container_id_bare(id);
    }
    return "";
}

/* Init containers count where they go on beside the others (restartPolicy Always: sidecars). */
static void read_containers(EntityDraft *draft, const json_t *object, const char *key,
                            const char *statuses_key, bool only_sidecars)
{
    const json_t *spec = member_object(object, "", "spec", &draft->problem);
    const json_t *status = member_object(object, "", "status", &draft->problem);
    const json_t *containers = member_objects(spec, "spec", key, &draft->problem);
    size_t index;
    const json_t *element;
    json_array_foreach(containers, index, element)
    {
        const char *policy = member_text(element, key, "restartPolicy", &draft->problem);
        if (only_sidecars && !g_str_equal(policy, "Always"))
            continue;
        const char *name = member_text(element, key, "name", &draft->problem);
        EntityContainer container = {
            .name = name,
            .id = container_id(draft, status, statuses_key, name),
            .image = member_text(element, key, "image", &draft->problem),
        };
        g_array_append_val(draft->containers, container);
        read_container_ports(draft, element);
    }
}

static uint64_t last_finished(EntityDraft *draft, const json_t *status, const char *statuses_key)
{
    const json_t *statuses = member_objects(status, "status", statuses_key, &draft->problem);
    uint64_t last_ns = 0;
    size_t index;
    const json_t *element;
    json_array_foreach(statuses, index, element)
    {
        const json_t *state = member_object(element, statuses_key, "state", &draft->problem);
        const json_t *terminated = member_object(state, "state", "terminated", &draft->problem);
        uint64_t finished_ns =
            member_time(terminated, "state.terminated", "finishedAt", &draft->problem);
        last_ns = MAX(last_ns, finished_ns);
    }
    return last_ns;
}

/* A pod that has finished keeps its object but not its address. */
static void read_pod_end(EntityDraft *draft, const json_t *object)
{
    const json_t *status = member_object(object, "", "status", &draft->problem);
    const char *phase = member_text(status, "status", "phase", &draft->problem);
    if (!g_str_equal(phase, "Succeeded") && !g_str_equal(phase, "Failed"))
        return;
    uint64_t end_ns = MAX(last_finished(draft, status, "containerStatuses"),
                          last_finished(draft, status, "initContainerStatuses"));
    const json_t *metadata = member_object(object, "", "metadata", &draft->problem);
    if (end_ns == 0)
        end_ns = member_time(metadata, "metadata", "deletionTimestamp", &draft->problem);
    entity_draft_end(draft, end_ns);
}

static void read_pod(EntityDraft *draft, const json_t *object, const OwnerTable *owners)
{
    char **problem = &draft->problem;
    const json_t *spec = member_object(object, "", "spec", problem);
    const json_t *status = member_object(object, "", "status", problem);
    draft->entity.node = member_text(spec, "spec", "nodeName", problem);
    draft->entity.host_network = member_true(spec, "spec", "hostNetwork", problem);
    /* A pod may wait for a node long after it was created; until then its later address is
     * another's. */
    draft->entity.from_ns =
        MAX(draft->entity.from_ns, member_time(status, "status", "startTime", problem));
    entity_draft_owner(draft, owner_of_pod(owners, object, problem));
    entity_draft_address(draft, member_text(status, "status", "podIP", problem), "status", "podIP");
    add_ips(draft, status, "status", "podIPs");
    read_containers(draft, object, "containers", "containerStatuses", false);
    read_containers(draft, object, "initContainers", "initContainerStatuses", true);
    read_containers(draft, object, "ephemeralContainers", "ephemeralContainerStatuses", false);
    read_pod_end(draft, object);
}

static void read_service(EntityDraft *draft, const json_t *object)
{
    const char *parent = "spec.ports";
    char **problem = &draft->problem;
    const json_t *spec = member_object(object, "", "spec", problem);
    const json_t *status = member_object(object, "", "status", problem);
    const json_t *balancer = member_object(status, "status", "loadBalancer", problem);
    const char *cluster_ip = member_text(spec, "spec", "clusterIP", problem);
    if (!g_str_equal(cluster_ip, "None"))
        entity_draft_address(draft, cluster_ip, "spec", "clusterIP");
    add_addresses(draft, spec, "spec", "clusterIPs");
    add_addresses(draft, spec, "spec", "externalIPs");
    add_ips(draft, balancer, "status.loadBalancer", "ingress");

    const json_t *ports = member_objects(spec, "spec", "ports", problem);
    size_t index;
    const json_t *element;
    json_array_foreach(ports, index, element)
    {
        EntityPort port = {
            .protocol = member_protocol(element, parent, problem),
            .port = member_port(element, parent, "port", problem),
            .node_port = member_port(element, parent, "nodePort", problem),
            .name = member_text(element, parent, "name", problem),
        };
        g_array_append_val(draft->ports, port);
    }
}

static void read_node(EntityDraft *draft, const json_t *object)
{
    const char *parent = "status.addresses";
    const json_t *status = member_object(object, "", "status", &draft->problem);
    const json_t *addresses = member_objects(status, "status", "addresses", &draft->problem);
    size_t index;
    const json_t *element;
    json_array_foreach(addresses, index, element)
    {
        const char *type = member_text(element, parent, "type", &draft->problem);
        if (g_str_equal(type, "InternalIP") || g_str_equal(type, "ExternalIP"))
            entity_draft_address(draft, member_text(element, parent, "address", &draft->problem),
                                 parent, "address");
    }
}

static void read_endpoint(EntityDraft *draft, const json_t *object)
{
    char **problem = &draft->problem;
    const json_t *target = member_object(object, "endpoints", "targetRef", problem);
    const json_t *topology = member_object(object, "endpoints", "topology", problem);
    EntityEndpoint endpoint = {
        .target_uid = member_text(target, "endpoints.targetRef", "uid", problem),
        .node = member_text(object, "endpoints", "nodeName", problem),
    };
    if (!*endpoint.node) /* v1beta1 */
        endpoint.node =
            member_text(topology, "endpoints.topology", "kubernetes.io/hostname", problem);
    const json_t *addresses = member_array(object, "endpoints", "addresses", problem);
    size_t index;
    const json_t *element;
    json_array_foreach(addresses, index, element)
    {
        IpAddress address;
        const char *text = json_string_value(element);
        if (!text)
            problem_set(problem, "endpoints", "addresses", "expected strings");
        else if (parse_address(text, "endpoints", "addresses", &address, problem)) {
            g_array_append_val(draft->endpoint_addresses, address);
            endpoint.n_addresses++;
        }
    }
    g_array_append_val(draft->endpoints, endpoint);
}

static void read_endpoint_slice(EntityDraft *draft, const json_t *object)
{
    char **problem = &draft->problem;
    const json_t *metadata = member_object(object, "", "metadata", problem);
    const json_t *labels = member_object(metadata, "metadata", "labels", problem);
    draft->entity.service_name =
        member_text(labels, "metadata.labels", "kubernetes.io/service-name", problem);

    const json_t *ports = member_objects(object, "", "ports", problem);
    size_t index;
    const json_t *element;
    json_array_foreach(ports, index, element)
    {
        EntityPort port = {
            .protocol = member_protocol(element, "ports", problem),
            .port = member_port(element, "ports", "port", problem),
            .name = member_text(element, "ports", "name", problem),
        };
        g_array_append_val(draft->ports, port);
    }
    const json_t *endpoints = member_objects(object, "", "endpoints", problem);
    if (g_str_equal(member_text(object, "", "addressType", problem), "FQDN"))
        return;
    json_array_foreach(endpoints, index, element) read_endpoint(draft, element);
}

/* Kinds of ours and the API group that they come from ("": the core). */
static const struct {
    const char *kind, *group;
    EntityKind entity_kind; /* 0: only an owner */
} kinds[] = {
    {"Pod", "", ENTITY_POD},
    {"Service", "", ENTITY_SERVICE},
    {"EndpointSlice", "discovery.k8s.io", ENTITY_ENDPOINT_SLICE},
    {"Node", "", ENTITY_NODE},
    {"Namespace", "", ENTITY_NAMESPACE},
    {"ReplicaSet", "apps", 0},
    {"Job", "batch", 0},
};

const char *object_kind(const json_t *object, const char *default_kind)
{
    const char *kind = json_string_value(json_object_get(object, "kind"));
    const char *version = json_string_value(json_object_get(object, "apiVersion"));
    if (!kind)
        kind = default_kind;
    if (!version)
        return kind;
    const char *slash = strchr(version, '/');
    size_t group_length = slash ? (size_t)(slash - version) : 0;
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
        if (g_str_equal(kinds[i].kind, kind) &&
            (strlen(kinds[i].group) != group_length ||
             strncmp(kinds[i].group, version, group_length) != 0))
            return "";
    return kind;
}

char *object_describe(const json_t *object, const char *kind)
{
    const json_t *metadata = json_object_get(object, "metadata");
    const char *name = json_string_value(json_object_get(metadata, "name"));
    const char *namespace_name = json_string_value(json_object_get(metadata, "namespace"));
    return g_strdup_printf("%s %s%s%s", *kind ? kind : "object",
                           namespace_name ? namespace_name : "", namespace_name ? "/" : "",
                           name ? name : "without a name");
}

const char *object_annotation(const json_t *object, const char *key)
{
    const json_t *metadata = json_object_get(object, "metadata");
    return json_string_value(json_object_get(json_object_get(metadata, "annotations"), key));
}

Entity *object_to_entity(const json_t *object, const char *kind, const OwnerTable *owners,
                         char **ret_problem)
{
    EntityDraft draft;
    entity_draft_init(&draft);
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
        if (g_str_equal(kinds[i].kind, kind))
            draft.entity.kind = kinds[i].entity_kind;
    if (!draft.entity.kind) {
        entity_draft_clear(&draft);
        return NULL;
    }

    read_metadata(&draft, object);
    switch (draft.entity.kind) {
    case ENTITY_POD:
        read_pod(&draft, object, owners);
        break;
    case ENTITY_SERVICE:
        read_service(&draft, object);
        break;
    case ENTITY_NODE:
        read_node(&draft, object);
        break;
    case ENTITY_ENDPOINT_SLICE:
        read_endpoint_slice(&draft, object);
        break;
    case ENTITY_NAMESPACE:
        break;
    }
    Entity *entity = entity_draft_finish(&draft);
    if (!entity)
        *ret_problem = g_steal_pointer(&draft.problem);
    entity_draft_clear(&draft);
    return entity;
}
