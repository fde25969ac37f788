// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/inventory-object.h"

#include <string.h>

#include "k8s-enrich/json-member.h"

#define SECOND_NS UINT64_C(1000000000)

/* An Entity under construction: arrays that grow; strings are the JSON's, but for the owner's. */
typedef struct Draft {
    Entity entity;
    GArray *labels, *containers, *ports, *addresses, *endpoints;
    GArray *endpoint_addresses; /* of all endpoints, in order */
    Owner owner;
    char *problem;
} Draft;

static void draft_init(Draft *draft)
{
    *draft = (Draft){0};
    draft->labels = g_array_new(FALSE, TRUE, sizeof(EntityLabel));
    draft->containers = g_array_new(FALSE, TRUE, sizeof(EntityContainer));
    draft->ports = g_array_new(FALSE, TRUE, sizeof(EntityPort));
    draft->addresses = g_array_new(FALSE, TRUE, sizeof(IpAddress));
    draft->endpoints = g_array_new(FALSE, TRUE, sizeof(EntityEndpoint));
    draft->endpoint_addresses = g_array_new(FALSE, TRUE, sizeof(IpAddress));
}

static void draft_clear(Draft *draft)
{
    g_array_unref(draft->labels);
    g_array_unref(draft->containers);
    g_array_unref(draft->ports);
    g_array_unref(draft->addresses);
    g_array_unref(draft->endpoints);
    g_array_unref(draft->endpoint_addresses);
    owner_clear(&draft->owner);
    g_free(draft->problem);
}

static Entity *draft_finish(Draft *draft)
{
    Entity *entity = &draft->entity;
    size_t used = 0;
    for (guint i = 0; i < draft->endpoints->len; i++) {
        EntityEndpoint *endpoint = &g_array_index(draft->endpoints, EntityEndpoint, i);
        if (endpoint->n_addresses > 0)
            endpoint->addresses = &g_array_index(draft->endpoint_addresses, IpAddress, used);
        used += endpoint->n_addresses;
    }
    entity->labels = (const EntityLabel *)draft->labels->data;
    entity->n_labels = draft->labels->len;
    entity->containers = (const EntityContainer *)draft->containers->data;
    entity->n_containers = draft->containers->len;
    entity->ports = (const EntityPort *)draft->ports->data;
    entity->n_ports = draft->ports->len;
    entity->addresses = (const IpAddress *)draft->addresses->data;
    entity->n_addresses = draft->addresses->len;
    entity->endpoints = (const EntityEndpoint *)draft->endpoints->data;
    entity->n_endpoints = draft->endpoints->len;

    const char *error = NULL;
    Entity *finished = draft->problem ? NULL : entity_new(entity, &error);
    if (error)
        draft->problem = g_strdup(error);
    return finished;
}

/* Dual-stack objects repeat in one field what stands in another: each address once. */
static void add_address(Draft *draft, const char *text, const char *parent, const char *key)
{
    IpAddress address;
    if (!*text || !parse_address(text, parent, key, &address, &draft->problem))
        return;
    for (guint i = 0; i < draft->addresses->len; i++)
        if (ip_address_equal(&g_array_index(draft->addresses, IpAddress, i), &address))
            return;
    g_array_append_val(draft->addresses, address);
}

/* From an array of strings. */
static void add_addresses(Draft *draft, const json_t *object, const char *parent, const char *key)
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
            add_address(draft, text, parent, key);
    }
}

/* From an array of objects with a member `ip`; entries without one name a host. */
static void add_ips(Draft *draft, const json_t *object, const char *parent, const char *key)
{
    const json_t *array = member_objects(object, parent, key, &draft->problem);
    size_t index;
    const json_t *element;
    json_array_foreach(array, index, element)
        add_address(draft, member_text(element, key, "ip", &draft->problem), parent, key);
}

static void read_metadata(Draft *draft, const json_t *object)
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

static void read_container_ports(Draft *draft, const json_t *container)
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
static const char *container_id(Draft *draft, const json_t *status, const char *statuses_key,
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
        const char *separator = strstr(id, "://");
        return separator ? separator + 3 : id;
    }
    return "";
}

/* Init containers count where they go on beside the others (restartPolicy Always: sidecars). */
static void read_containers(Draft *draft, const json_t *object, const char *key,
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

/* The end of the whole second that a time of the API stands for. */
static uint64_t end_of_second(uint64_t time_ns)
{
    return time_ns && time_ns % SECOND_NS == 0 ? time_ns + SECOND_NS : time_ns;
}

static uint64_t last_finished(Draft *draft, const json_t *status, const char *statuses_key)
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
static void read_pod_end(Draft *draft, const json_t *object)
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
    if (end_ns == 0) /* nobody knows since when: better no name than a wrong one */
        g_array_set_size(draft->addresses, 0);
    draft->entity.to_ns = end_ns ? MAX(end_of_second(end_ns), draft->entity.from_ns) : 0;
}

static void read_pod(Draft *draft, const json_t *object, const OwnerTable *owners)
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
    draft->owner = owner_of_pod(owners, object, problem);
    draft->entity.owner_kind = draft->owner.kind;
    draft->entity.owner_name = draft->owner.name;
    add_address(draft, member_text(status, "status", "podIP", problem), "status", "podIP");
    add_ips(draft, status, "status", "podIPs");
    read_containers(draft, object, "containers", "containerStatuses", false);
    read_containers(draft, object, "initContainers", "initContainerStatuses", true);
    read_containers(draft, object, "ephemeralContainers", "ephemeralContainerStatuses", false);
    read_pod_end(draft, object);
}

static void read_service(Draft *draft, const json_t *object)
{
    const char *parent = "spec.ports";
    char **problem = &draft->problem;
    const json_t *spec = member_object(object, "", "spec", problem);
    const json_t *status = member_object(object, "", "status", problem);
    const json_t *balancer = member_object(status, "status", "loadBalancer", problem);
    const char *cluster_ip = member_text(spec, "spec", "clusterIP", problem);
    if (!g_str_equal(cluster_ip, "None"))
        add_address(draft, cluster_ip, "spec", "clusterIP");
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

static void read_node(Draft *draft, const json_t *object)
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
            add_address(draft, member_text(element, parent, "address", &draft->problem), parent,
                        "address");
    }
}

static void read_endpoint(Draft *draft, const json_t *object)
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

static void read_endpoint_slice(Draft *draft, const json_t *object)
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
    Draft draft;
    draft_init(&draft);
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++)
        if (g_str_equal(kinds[i].kind, kind))
            draft.entity.kind = kinds[i].entity_kind;
    if (!draft.entity.kind) {
        draft_clear(&draft);
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
    Entity *entity = draft_finish(&draft);
    if (!entity)
        *ret_problem = g_steal_pointer(&draft.problem);
    draft_clear(&draft);
    return entity;
}
