// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/namer.h"

#include <glib.h>

/* Enough for memory to answer, few enough for the nearest cache. */
#define AHEAD 8u

typedef struct Waiting {
    VantagePacket packet; /* holds its service */
    Flow flow;            /* of the packet, if it has one */
    AnnotateTicket ticket;
} Waiting;

struct Namer {
    Annotator *annotator;
    void (*write)(const VantagePacket *packet, const Annotation *names, void *userdata);
    void *userdata;
    Waiting waiting[AHEAD]; /* a ring */
    unsigned head, count;
};

Namer *namer_new(Annotator *annotator,
                 void (*write)(const VantagePacket *packet, const Annotation *names,
                               void *userdata),
                 void *userdata)
{
    Namer *namer = g_new0(Namer, 1);
    namer->annotator = annotator;
    namer->write = write;
    namer->userdata = userdata;
    return namer;
}

static Waiting *take_first(Namer *namer)
{
    Waiting *first = &namer->waiting[namer->head];
    namer->head = (namer->head + 1) % AHEAD;
    namer->count--;
    return first;
}

static void let_go(const VantagePacket *packet)
{
    entity_unref(packet->service);
    merge_buffer_unref(packet->packet.buffer);
}

Namer *namer_free(Namer *namer)
{
    if (!namer)
        return NULL;
    while (namer->count)
        let_go(&take_first(namer)->packet);
    g_free(namer);
    return NULL;
}

static AnnotateRequest request_of(const VantagePacket *packet)
{
    return (AnnotateRequest){
        .point = packet->point,
        .info = &packet->info,
        .direction = packet->direction,
        .time_ns = packet->packet.time_ns,
        .service = packet->service,
        .flow = packet->flow,
        .service_is_src = packet->service_is_src,
    };
}

static void write_first(Namer *namer)
{
    const Waiting *first = take_first(namer);
    AnnotateRequest request = request_of(&first->packet);
    Annotation names;
    annotate_end(namer->annotator, &request, &first->ticket, &names);
    namer->write(&first->packet, &names, namer->userdata);
    let_go(&first->packet);
}

void namer_push(Namer *namer, const VantagePacket *packet)
{
    if (namer->count == AHEAD)
        write_first(namer);
    Waiting *last = &namer->waiting[(namer->head + namer->count++) % AHEAD];
    last->packet = *packet;
    if (packet->flow) {
        last->flow = *packet->flow;
        last->packet.flow = &last->flow;
    }
    if (packet->service)
        entity_ref(packet->service);
    AnnotateRequest request = request_of(&last->packet);
    annotate_begin(namer->annotator, &request, &last->ticket);
}

void namer_flush(Namer *namer)
{
    while (namer->count)
        write_first(namer);
}
