// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/server/queue-step.h"

void queue_event_free(void *data)
{
    QueueEvent *event = data;
    node_interface_unref(event->interface);
    entity_unref(event->entity);
    g_slice_free(QueueEvent, event);
}

void queue_loss_clear(void *data)
{
    QueueLoss *loss = data;
    node_interface_unref(loss->interface);
    g_clear_pointer(&loss->detail, g_ref_string_release);
}

QueueLoss queue_loss_ref(const QueueLoss *loss)
{
    QueueLoss copy = *loss;
    copy.interface = loss->interface ? node_interface_ref(loss->interface) : NULL;
    copy.detail = loss->detail ? g_ref_string_acquire(loss->detail) : NULL;
    return copy;
}

void queue_step_free(void *data)
{
    QueueStep *step = data;
    g_queue_clear_full(&step->events, queue_event_free);
    g_clear_pointer(&step->losses, g_array_unref);
    if (step->batch) {
        batch_unref(step->batch);
    }
    g_slice_free(QueueStep, step);
}

void queue_step_add_loss(QueueStep *step, const QueueLoss *loss)
{
    if (!step->losses) {
        step->losses = g_array_new(FALSE, FALSE, sizeof(QueueLoss));
        g_array_set_clear_func(step->losses, queue_loss_clear);
    }
    for (guint i = 0; i < step->losses->len; i++) {
        QueueLoss *known = &g_array_index(step->losses, QueueLoss, i);
        if (known->stage == loss->stage && known->interface == loss->interface &&
            g_strcmp0(known->detail, loss->detail) == 0) {
            known->packets += loss->packets;
            known->from_ns = MIN(known->from_ns, loss->from_ns);
            known->to_ns = MAX(known->to_ns, loss->to_ns);
            known->unknown = known->unknown || loss->unknown;
            return;
        }
    }
    QueueLoss copy = queue_loss_ref(loss);
    g_array_append_val(step->losses, copy);
}

void queue_step_merge(QueueStep *step, QueueStep *next)
{
    GQueue events = step->events;
    g_queue_init(&step->events);
    while (!g_queue_is_empty(&next->events)) {
        g_queue_push_tail_link(&events, g_queue_pop_head_link(&next->events));
    }
    next->events = events;
    next->watermark_ns = MAX(step->watermark_ns, next->watermark_ns);

    GArray *later = next->losses;
    next->losses = g_steal_pointer(&step->losses);
    for (guint i = 0; later && i < later->len; i++) {
        queue_step_add_loss(next, &g_array_index(later, QueueLoss, i));
    }
    g_clear_pointer(&later, g_array_unref);
}
