// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/inventory-owner.h"

#include <string.h>

#include "k8s-enrich/json-member.h"

/* A CronJob's Job is named after it and the scheduled time in minutes since 1970 (kubernetes,
 * pkg/controller/cronjob/utils.go, getJobName). Eight digits from here on are minutes since 2017,
 * and no date that begins with a year. */
#define CRON_DIGITS      8u
#define CRON_MINUTES_MIN 25000000u

const json_t *owner_controller(const json_t *metadata, char **problem)
{
    const char *parent = "metadata.ownerReferences";
    const json_t *references = member_objects(metadata, "metadata", "ownerReferences", problem);
    size_t index;
    const json_t *reference;
    json_array_foreach(references, index, reference)
    {
        if (member_true(reference, parent, "controller", problem))
            return reference;
    }
    return NULL;
}

static char *owner_table_key(const char *kind, const char *namespace_name, const char *name)
{
    return g_strconcat(kind, "/", namespace_name, "/", name, NULL);
}

OwnerTable *owner_table_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
}

void owner_table_note(OwnerTable *owners, const char *kind, const json_t *object)
{
    if (!g_str_equal(kind, "ReplicaSet") && !g_str_equal(kind, "Job"))
        return;
    /* One that cannot be read is as good as none: the rules by name remain. */
    g_autofree char *problem = NULL;
    const json_t *metadata = member_object(object, "", "metadata", &problem);
    const char *name = member_text(metadata, "metadata", "name", &problem);
    const char *namespace_name = member_text(metadata, "metadata", "namespace", &problem);
    const json_t *controller = owner_controller(metadata, &problem);
    if (!problem && *name)
        g_hash_table_insert(owners, owner_table_key(kind, namespace_name, name),
                            (json_t *)controller);
}

static Owner owner_named(const json_t *reference, char **problem)
{
    const char *parent = "metadata.ownerReferences";
    return (Owner){g_strdup(member_text(reference, parent, "kind", problem)),
                   g_strdup(member_text(reference, parent, "name", problem))};
}

/* Replaces `owner` by the one above it, whose name is the first `length` bytes of its own. */
static void owner_rise(Owner *owner, const char *kind, size_t length)
{
    Owner above = {g_strdup(kind), g_strndup(owner->name, length)};
    owner_clear(owner);
    *owner = above;
}

static void replica_set_to_deployment(Owner *owner, const char *hash)
{
    size_t name_length = strlen(owner->name), hash_length = strlen(hash);
    if (hash_length > 0 && name_length > hash_length + 1 && g_str_has_suffix(owner->name, hash) &&
        owner->name[name_length - hash_length - 1] == '-')
        owner_rise(owner, "Deployment", name_length - hash_length - 1);
}

static void job_to_cron_job(Owner *owner)
{
    const char *dash = strrchr(owner->name, '-');
    if (!dash || dash == owner->name || strlen(dash + 1) != CRON_DIGITS ||
        strspn(dash + 1, "0123456789") != CRON_DIGITS ||
        g_ascii_strtoull(dash + 1, NULL, 10) < CRON_MINUTES_MIN)
        return;
    owner_rise(owner, "CronJob", (size_t)(dash - owner->name));
}

Owner owner_by_name(const char *kind, const char *name, const char *template_hash)
{
    Owner owner = {g_strdup(kind), g_strdup(name)};
    if (g_str_equal(kind, "ReplicaSet"))
        replica_set_to_deployment(&owner, template_hash);
    else if (g_str_equal(kind, "Job"))
        job_to_cron_job(&owner);
    return owner;
}

Owner owner_of_pod(const OwnerTable *owners, const json_t *pod, char **problem)
{
    const json_t *metadata = member_object(pod, "", "metadata", problem);
    const json_t *controller = owner_controller(metadata, problem);
    if (!controller) {
        const json_t *annotations = member_object(metadata, "metadata", "annotations", problem);
        const json_t *spec = member_object(pod, "", "spec", problem);
        if (json_object_get(annotations, OWNER_MIRROR_ANNOTATION))
            return (Owner){g_strdup("Node"),
                           g_strdup(member_text(spec, "spec", "nodeName", problem))};
        return (Owner){g_strdup(""), g_strdup("")};
    }

    Owner owner = owner_named(controller, problem);
    const char *namespace_name = member_text(metadata, "metadata", "namespace", problem);
    g_autofree char *key = owner_table_key(owner.kind, namespace_name, owner.name);
    gpointer above;
    if (!g_hash_table_lookup_extended((GHashTable *)owners, key, NULL, &above)) {
        const json_t *labels = member_object(metadata, "metadata", "labels", problem);
        Owner risen = owner_by_name(
            owner.kind, owner.name,
            member_text(labels, "metadata.labels", OWNER_TEMPLATE_HASH_LABEL, problem));
        owner_clear(&owner);
        owner = risen;
    } else if (above) {
        owner_clear(&owner);
        owner = owner_named(above, problem);
    }
    return owner;
}

void owner_clear(Owner *owner)
{
    g_free(owner->kind);
    g_free(owner->name);
    *owner = (Owner){0};
}
