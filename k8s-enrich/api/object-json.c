// SPDX-License-Identifier: GPL-2.0-or-later
#include "k8s-enrich/api/object.h"
#include "k8s-enrich/inventory-object.h"
#include "k8s-enrich/json-member.h"

void object_from_json(ObjectReader *reader, const json_t *json, ApiObject *ret)
{
    g_autofree char *problem = NULL;
    const json_t *metadata = member_object(json, "", "metadata", &problem);
    const json_t *controller = owner_controller(metadata, &problem);
    *ret = (ApiObject){
        .resource_version = member_text(metadata, "metadata", "resourceVersion", &problem),
        .namespace_name = member_text(metadata, "metadata", "namespace", &problem),
        .name = member_text(metadata, "metadata", "name", &problem),
        .controller_kind = member_text(controller, "metadata.ownerReferences", "kind", &problem),
        .controller_name = member_text(controller, "metadata.ownerReferences", "name", &problem),
    };
    if (!problem && !json_is_object(json))
        problem = g_strdup("expected an object");
    if (!problem && reader->resource->entity_kind) {
        entity_unref(reader->entity);
        reader->entity = ret->entity =
            object_to_entity(json, reader->resource->kind, reader->no_owners, &problem);
    }
    if (problem)
        object_set_problem(reader, ret, problem);
}
