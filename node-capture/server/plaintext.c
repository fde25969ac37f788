// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/plaintext.h"

/* Whose it is. */
typedef struct Origin {
    uint64_t netns_inode;
    uint64_t secrets_ns; /* of the connection: when they were told, or 0 */
} Origin;

/* Packets, or what is told in the place of some. */
typedef struct Waiting {
    Origin origin;
    Batch *batch; /* NULL: `loss` */
    QueueLoss loss;
} Waiting;

struct Plaintext {
    PlaintextFlow *flow; /* the source's thread's */
    Origin origin;       /* of what the flow is given now */
    PlaintextHole hole;  /* ahead of it; bytes 0: told, or there is none */
    uint32_t interfaces; /* so many were made; the capture thread's */
    GMutex lock;         /* of all below */
    GQueue waiting;      /* of Waiting * */
    GArray *dropped;     /* of Waiting, losses only: to be told ahead of these */
    uint64_t waiting_bytes;
    bool wake; /* since the last plaintext_take() the first of them came */
    PlaintextStats stats;
};

static void waiting_free(void *data)
{
    Waiting *waiting = data;
    batch_unref(waiting->batch);
    g_slice_free(Waiting, waiting);
}

Plaintext *plaintext_new(void)
{
    Plaintext *plaintext = g_new0(Plaintext, 1);
    plaintext->flow = plaintext_flow_new(0);
    plaintext->dropped = g_array_new(FALSE, FALSE, sizeof(Waiting));
    g_queue_init(&plaintext->waiting);
    g_mutex_init(&plaintext->lock);
    return plaintext;
}

Plaintext *plaintext_free(Plaintext *plaintext)
{
    if (plaintext) {
        plaintext_flow_free(plaintext->flow);
        g_queue_clear_full(&plaintext->waiting, waiting_free);
        g_array_unref(plaintext->dropped);
        g_mutex_clear(&plaintext->lock);
        g_free(plaintext);
    }
    return NULL;
}

/* ---- In --------------------------------------------------------------------------------------*/

static uint64_t memory_of(const Waiting *waiting)
{
    return sizeof *waiting +
           (waiting->batch ? sizeof *waiting->batch + waiting->batch->capacity : 0);
}

/* Told together, to all whom one of them concerns. */
static bool same_loss(const Waiting *a, const Waiting *b)
{
    return a->origin.netns_inode == b->origin.netns_inode &&
           !a->origin.secrets_ns == !b->origin.secrets_ns && a->loss.stage == b->loss.stage;
}

static void add_dropped(Plaintext *plaintext, const Waiting *loss)
{
    for (guint i = 0; i < plaintext->dropped->len; i++) {
        Waiting *known = &g_array_index(plaintext->dropped, Waiting, i);
        if (same_loss(known, loss)) {
            known->origin.secrets_ns = MIN(known->origin.secrets_ns, loss->origin.secrets_ns);
            known->loss.packets += loss->loss.packets;
            known->loss.from_ns = MIN(known->loss.from_ns, loss->loss.from_ns);
            known->loss.to_ns = MAX(known->loss.to_ns, loss->loss.to_ns);
            return;
        }
    }
    g_array_append_vals(plaintext->dropped, loss, 1);
}

static void drop_oldest(Plaintext *plaintext)
{
    Waiting *oldest = g_queue_pop_head(&plaintext->waiting);
    plaintext->waiting_bytes -= memory_of(oldest);
    Waiting loss = {.origin = oldest->origin, .loss = oldest->loss};
    if (oldest->batch) {
        loss.loss = (QueueLoss){.stage = REMORA__V1__LOSS_STAGE__LOSS_STAGE_TLS_PLAINTEXT,
                                .packets = oldest->batch->count,
                                .from_ns = oldest->batch->first_ns,
                                .to_ns = oldest->batch->last_ns};
        plaintext->stats.lost += oldest->batch->count;
    }
    add_dropped(plaintext, &loss);
    waiting_free(oldest);
}

static void add_waiting(Plaintext *plaintext, Batch *batch, const QueueLoss *loss)
{
    Waiting *waiting = g_slice_new0(Waiting);
    waiting->origin = plaintext->origin;
    waiting->batch = batch;
    if (loss) {
        waiting->loss = *loss;
    }
    plaintext->wake = plaintext->wake || g_queue_is_empty(&plaintext->waiting);
    g_queue_push_tail(&plaintext->waiting, waiting);
    plaintext->waiting_bytes += memory_of(waiting);
    while (plaintext->waiting_bytes > PLAINTEXT_WAITING_MAX) {
        drop_oldest(plaintext);
    }
}

/* What is missing stands ahead of what is behind it. */
static void add_hole(Plaintext *plaintext)
{
    const QueueLoss loss = {.stage = REMORA__V1__LOSS_STAGE__LOSS_STAGE_TLS_HOOKS,
                            .packets = 1,
                            .from_ns = plaintext->hole.from_ns,
                            .to_ns = plaintext->hole.to_ns,
                            .unknown = true};
    if (plaintext->hole.bytes > 0) {
        add_waiting(plaintext, NULL, &loss);
        plaintext->hole.bytes = 0;
    }
}

static void take_batch(Batch *batch, void *userdata)
{
    Plaintext *plaintext = userdata;
    g_mutex_lock(&plaintext->lock);
    add_hole(plaintext);
    add_waiting(plaintext, batch, NULL);
    g_mutex_unlock(&plaintext->lock);
}

bool plaintext_take(Plaintext *plaintext, const TlsPlaintext *told)
{
    plaintext->origin = (Origin){told->netns_inode, told->secrets_ns};
    plaintext_flow_add(plaintext->flow, told, take_batch, plaintext, &plaintext->hole);
    g_mutex_lock(&plaintext->lock);
    plaintext_flow_stats(plaintext->flow, &plaintext->stats.flow);
    bool wake = plaintext->wake;
    plaintext->wake = false;
    g_mutex_unlock(&plaintext->lock);
    return wake;
}

/* ---- Out -------------------------------------------------------------------------------------*/

/* A network namespace is one pod's; those on the node's network have none here. */
static Pod *find_pod(const Capture *capture, uint64_t netns_inode)
{
    GHashTableIter iter;
    Pod *pod;
    g_hash_table_iter_init(&iter, capture_pods(capture));
    while (g_hash_table_iter_next(&iter, NULL, (void **)&pod)) {
        if (pod->netns_inode == netns_inode) {
            return pod;
        }
    }
    return NULL;
}

static void make_interface(Plaintext *plaintext, Pod *pod)
{
    if (!pod->plaintext) {
        g_autofree char *label = pod_label(pod);
        pod->plaintext = node_interface_new_plaintext(
            PLAINTEXT_INTERFACES + plaintext->interfaces++, pod->entity->uid, label);
    }
}

static void give(const Pod *pod, Stream *stream, const Waiting *waiting)
{
    Queue *queue = stream_lock(stream);
    if (!queue_has_interface(queue, pod->plaintext->id)) {
        queue_interface(queue, pod->plaintext);
    }
    if (waiting->batch) {
        queue_packets(queue, waiting->batch);
    } else {
        QueueLoss loss = waiting->loss;
        loss.interface = pod->plaintext;
        queue_loss(queue, &loss);
    }
    stream_unlock(stream);
}

static void give_to_streams(Plaintext *plaintext, Pod *pod, const Waiting *waiting)
{
    make_interface(plaintext, pod);
    if (waiting->batch) {
        plaintext_batch_set_interface(waiting->batch, pod->plaintext->id);
    }
    for (guint i = 0; i < pod->streams->len; i++) {
        Stream *stream = g_ptr_array_index(pod->streams, i);
        if (stream_wants_plaintext(stream, waiting->origin.secrets_ns)) {
            give(pod, stream, waiting);
        }
    }
}

void plaintext_run(Plaintext *plaintext, const Capture *capture)
{
    g_mutex_lock(&plaintext->lock);
    GQueue waiting = plaintext->waiting;
    g_queue_init(&plaintext->waiting);
    plaintext->waiting_bytes = 0;
    GArray *dropped = NULL;
    if (plaintext->dropped->len > 0) {
        dropped = plaintext->dropped;
        plaintext->dropped = g_array_new(FALSE, FALSE, sizeof(Waiting));
    }
    g_mutex_unlock(&plaintext->lock);

    for (guint i = 0; dropped && i < dropped->len; i++) {
        const Waiting *loss = &g_array_index(dropped, Waiting, i);
        Pod *pod = find_pod(capture, loss->origin.netns_inode);
        if (pod) {
            give_to_streams(plaintext, pod, loss);
        }
    }
    g_clear_pointer(&dropped, g_array_unref);

    Pod *pod = NULL;
    Waiting *next;
    while ((next = g_queue_pop_head(&waiting))) {
        if (!pod || pod->netns_inode != next->origin.netns_inode) {
            pod = find_pod(capture, next->origin.netns_inode);
        }
        if (pod) {
            give_to_streams(plaintext, pod, next);
        }
        waiting_free(next);
    }
}

void plaintext_stats(Plaintext *plaintext, PlaintextStats *ret)
{
    g_mutex_lock(&plaintext->lock);
    *ret = plaintext->stats;
    g_mutex_unlock(&plaintext->lock);
}
