// SPDX-License-Identifier: GPL-2.0-or-later
#include "helpers.h"

#include <glib.h>
#include <string.h>

#include "common/pcapng/pcapng.h"

#define LABELS_MAX 128

Entity *test_pod(const char *namespace_name, const char *name, const char *const *labels)
{
    g_autofree char *uid = g_strdup_printf("uid-%s", name);
    Remora__V1__Label label[LABELS_MAX];
    Remora__V1__Label *pointers[LABELS_MAX];
    Remora__V1__Entity proto = REMORA__V1__ENTITY__INIT;
    proto.kind = REMORA__V1__ENTITY_KIND__ENTITY_KIND_POD;
    proto.uid = uid;
    proto.namespace_ = (char *)(uintptr_t)namespace_name;
    proto.name = (char *)(uintptr_t)name;
    proto.node = (char *)(uintptr_t) "n1";
    for (; labels && labels[2 * proto.n_labels]; proto.n_labels++) {
        g_assert_cmpuint(proto.n_labels, <, LABELS_MAX);
        remora__v1__label__init(&label[proto.n_labels]);
        label[proto.n_labels].key = (char *)(uintptr_t)labels[2 * proto.n_labels];
        label[proto.n_labels].value = (char *)(uintptr_t)labels[2 * proto.n_labels + 1];
        pointers[proto.n_labels] = &label[proto.n_labels];
    }
    proto.labels = pointers;
    const char *error = NULL;
    Entity *entity = entity_from_proto(&proto, &error);
    g_assert_cmpstr(error, ==, NULL);
    g_assert_nonnull(entity);
    return entity;
}

Batch *test_batch(uint32_t interface_id, uint64_t first_ns, uint32_t first_number, uint32_t count,
                  uint32_t size, uint8_t mark)
{
    g_autofree uint8_t *packet = g_malloc0(size);
    Batch *batch = batch_new((size_t)count * (PCAPNG_EPB_FIXED + size + 16));
    PcapngBuilder builder;
    pcapng_builder_init(&builder, batch->data, batch->capacity);
    packet[0] = mark;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = first_number + i;
        memcpy(packet + 4, &number, sizeof(number));
        pcapng_build_packet(&builder, interface_id, first_ns + i, packet, size, size);
        pcapng_build_option_u32(&builder, PCAPNG_EPB_FLAGS, PCAPNG_DIRECTION_OUTBOUND);
        g_assert_cmpint(pcapng_build_end(&builder), >, 0);
    }
    batch->length = builder.length;
    batch->count = count;
    batch->bytes = (uint64_t)count * size;
    batch->first_ns = first_ns;
    batch->last_ns = first_ns + count - 1;
    return batch;
}
