// SPDX-License-Identifier: GPL-2.0-or-later
/* Identity events as they come in a stream, each behind two bytes of length (big endian); then the
 * inventory is asked, emptied event by event and must be empty. */
#include <errno.h>
#include <glib.h>

#include "k8s-enrich/inventory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const Entity *entity, void *userdata)
{
    Inventory *inventory = userdata;
    if (inventory_get(inventory, entity->kind, entity->uid, entity->from_ns) != entity)
        g_error("%s is not to be found", entity->uid);
    for (size_t i = 0; i < entity->n_addresses; i++) {
        Peer peer;
        uint16_t port = entity->n_ports ? entity->ports[0].port : 0;
        inventory_lookup(inventory, &entity->addresses[i], 0, port, entity->from_ns, &peer);
        g_assert(peer.from_ns <= entity->from_ns);
    }
    for (size_t i = 0; i < entity->n_endpoints; i++)
        for (size_t j = 0; j < entity->endpoints[i].n_addresses; j++)
            inventory_service_of_endpoint(inventory, &entity->endpoints[i].addresses[j], 0, 0,
                                          entity->from_ns);

    /* Sent on, it arrives as the same entity. */
    const char *problem = NULL;
    Remora__V1__Entity *proto = entity_to_proto(entity);
    Entity *again = entity_from_proto(proto, &problem);
    entity_proto_free(proto);
    g_assert(again && again->key == entity->key);
    entity_unref(again);
}

static void apply(Inventory *inventory, const uint8_t *bytes, size_t length)
{
    const char *problem = NULL;
    Remora__V1__IdentityEvent *event = remora__v1__identity_event__unpack(NULL, length, bytes);
    if (!event)
        return;
    int r = inventory_apply(inventory, event, &problem);
    g_assert(r == 0 || (r == -EBADMSG && problem));
    remora__v1__identity_event__free_unpacked(event, NULL);
}

static void count(const Entity *entity, void *userdata)
{
    ++*(unsigned *)userdata;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    Inventory *inventory = inventory_new();
    while (size >= 2) {
        size_t length = (size_t)data[0] << 8 | data[1];
        data += 2;
        size -= 2;
        length = MIN(length, size);
        apply(inventory, data, length);
        inventory_foreach(inventory, 0, ask, inventory);
        data += length;
        size -= length;
    }
    unsigned left = 0;
    inventory_forget(inventory, UINT64_MAX);
    inventory_foreach(inventory, 0, count, &left);
    g_assert(left == 0);
    inventory_free(inventory);
    return 0;
}
