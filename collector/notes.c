// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/notes.h"

#include <glib.h>
#include <inttypes.h>

#include "common/seeded-hash.h"

#define LOSS_INTERVAL_NS   (1000u * 1000000u)
#define REPEAT_INTERVAL_NS (10u * 1000000000ull)
#define SAID_MAX           1000 /* sentences remembered */
#define NODES_MAX          1000 /* a peer may tell of losses at any number of nodes */
#define STAGES             9

typedef struct NodeLoss {
    uint64_t said_ns;
    uint64_t packets[STAGES];
    bool unknown[STAGES];
    bool pending;
} NodeLoss;

struct Notes {
    const CollectorSink *sink;
    void *userdata;
    GHashTable *losses; /* node -> NodeLoss */
    GHashTable *said;   /* sentence -> when, uint64_t * */
};

Notes *notes_new(const CollectorSink *sink, void *userdata)
{
    Notes *notes = g_new0(Notes, 1);
    notes->sink = sink;
    notes->userdata = userdata;
    notes->losses = g_hash_table_new_full(seeded_str_hash, g_str_equal, g_free, g_free);
    notes->said = g_hash_table_new_full(seeded_str_hash, g_str_equal, g_free, g_free);
    return notes;
}

Notes *notes_free(Notes *notes)
{
    if (!notes)
        return NULL;
    g_hash_table_unref(notes->losses);
    g_hash_table_unref(notes->said);
    g_free(notes);
    return NULL;
}

static void emit(Notes *notes, CollectorNoteLevel level, const char *text)
{
    if (notes->sink->note)
        notes->sink->note(level, text, notes->userdata);
}

void notes_say(Notes *notes, uint64_t now_ns, CollectorNoteLevel level, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    const uint64_t *said = g_hash_table_lookup(notes->said, text);
    if (said && now_ns < *said + REPEAT_INTERVAL_NS)
        return;
    if (g_hash_table_size(notes->said) >= SAID_MAX)
        g_hash_table_remove_all(notes->said);
    emit(notes, level, text);
    g_hash_table_insert(notes->said, g_steal_pointer(&text), g_memdup2(&now_ns, sizeof now_ns));
}

const char *notes_stage(Remora__V1__LossStage stage)
{
    switch (stage) {
    case REMORA__V1__LOSS_STAGE__LOSS_STAGE_KERNEL_RING:
        return "the capture ring was full";
    case REMORA__V1__LOSS_STAGE__LOSS_STAGE_SUBSCRIBER_QUEUE:
        return "they were read too slowly";
    case REMORA__V1__LOSS_STAGE__LOSS_STAGE_NODE_GAP:
        return "the node was away";
    case REMORA__V1__LOSS_STAGE__LOSS_STAGE_COLLECTOR:
        return "the collector had no room";
    case REMORA__V1__LOSS_STAGE__LOSS_STAGE_INVALID:
        return "they were no valid packets";
    case REMORA__V1__LOSS_STAGE__LOSS_STAGE_CAPTURE_START:
        return "a pod was seen late";
    case REMORA__V1__LOSS_STAGE__LOSS_STAGE_TLS_HOOKS:
        return "plaintext of TLS that the hooks lost";
    case REMORA__V1__LOSS_STAGE__LOSS_STAGE_TLS_PLAINTEXT:
        return "plaintext of TLS that found no room at the node";
    default:
        return "no cause was told";
    }
}

void notes_loss(Notes *notes, const char *node, Remora__V1__LossStage stage, uint64_t packets,
                bool unknown)
{
    NodeLoss *loss = g_hash_table_lookup(notes->losses, node);
    if (!loss && g_hash_table_size(notes->losses) >= NODES_MAX) {
        node = "other nodes";
        loss = g_hash_table_lookup(notes->losses, node);
    }
    if (!loss) {
        loss = g_new0(NodeLoss, 1);
        g_hash_table_insert(notes->losses, g_strdup(node), loss);
    }
    unsigned index = (unsigned)stage < STAGES ? (unsigned)stage : 0;
    loss->packets[index] += packets;
    loss->unknown[index] |= unknown;
    loss->pending = true;
}

static void say_loss(Notes *notes, const char *node, NodeLoss *loss)
{
    g_autoptr(GString) text = g_string_new(node);
    const char *separator = ": ";
    for (unsigned i = 0; i < STAGES; i++) {
        if (!loss->packets[i] && !loss->unknown[i])
            continue;
        g_string_append(text, separator);
        separator = "; ";
        if (loss->packets[i])
            g_string_append_printf(text, "%s%" PRIu64 " packets lost",
                                   loss->unknown[i] ? "at least " : "", loss->packets[i]);
        else
            g_string_append(text, "an unknown number of packets lost");
        g_string_append_printf(text, " (%s)", notes_stage((Remora__V1__LossStage)i));
        loss->packets[i] = 0;
        loss->unknown[i] = false;
    }
    emit(notes, COLLECTOR_WARNING, text->str);
}

void notes_flush(Notes *notes, uint64_t now_ns, bool all)
{
    GHashTableIter iter;
    gpointer node, value;
    g_hash_table_iter_init(&iter, notes->losses);
    while (g_hash_table_iter_next(&iter, &node, &value)) {
        NodeLoss *loss = value;
        if (!loss->pending || (!all && loss->said_ns && now_ns < loss->said_ns + LOSS_INTERVAL_NS))
            continue;
        loss->pending = false;
        loss->said_ns = now_ns;
        say_loss(notes, node, loss);
    }
}
