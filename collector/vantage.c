// SPDX-License-Identifier: GPL-2.0-or-later
/* The line of packets and the decision. The table of connections is in vantage-table.c.
 *
 * Two choices stand between a packet and the file, and both work alike: which of a leg's capture
 * points is shown (the server's pod is preferred), and whether a connection through a service
 * address is shown by its pod leg (preferred) or by its client's leg. A choice is open, then made;
 * what waits in the line is judged when it comes to the head, so it sees what was pushed behind it
 * in the meantime. */
#include "collector/vantage.h"

#include <glib.h>
#include <string.h>

#include "collector/vantage-table.h"
#include "common/pcapng/pcapng.h"

typedef struct Line { /* a ring */
    VantagePacket *packets;
    size_t head, count, capacity; /* capacity is a power of two */
} Line;

struct Vantage {
    VantageTable *table;
    const Translations *translations;
    bool show_all;
    Line line;
    uint64_t other_vantage;
};

Vantage *vantage_new(const Inventory *inventory, const Translations *translations,
                     size_t max_connections, bool show_all)
{
    Vantage *vantage = g_new0(Vantage, 1);
    vantage->translations = translations;
    vantage->show_all = show_all;
    vantage->table = vantage_table_new(inventory, translations,
                                       max_connections ? max_connections : VANTAGE_CONNECTIONS);
    return vantage;
}

static VantagePacket *line_at(const Line *line, size_t index)
{
    return &line->packets[(line->head + index) & (line->capacity - 1)];
}

Vantage *vantage_free(Vantage *vantage)
{
    if (!vantage)
        return NULL;
    for (size_t i = 0; i < vantage->line.count; i++) {
        VantagePacket *packet = line_at(&vantage->line, i);
        vantage_leg_unref(packet->leg);
        merge_buffer_unref(packet->packet.buffer);
    }
    g_free(vantage->line.packets);
    vantage_table_free(vantage->table);
    g_free(vantage);
    return NULL;
}

void vantage_point_changed(Vantage *vantage, const CapturePoint *point)
{
    vantage_table_point_changed(vantage->table, point);
}

void vantage_translated(Vantage *vantage, const Translation *translation)
{
    vantage_table_translated(vantage->table, translation);
}

static void line_push(Line *line, const VantagePacket *packet)
{
    if (line->count == line->capacity) {
        size_t capacity = MAX(256, line->capacity * 2);
        VantagePacket *packets = g_new(VantagePacket, capacity);
        for (size_t i = 0; i < line->count; i++)
            packets[i] = *line_at(line, i);
        g_free(line->packets);
        *line = (Line){packets, 0, line->count, capacity};
    }
    line->count++;
    *line_at(line, line->count - 1) = *packet;
}

/* ---- One choice ------------------------------------------------------------------------------*/

typedef enum Verdict { VERDICT_SHOW, VERDICT_LEAVE_OUT, VERDICT_WAIT } Verdict;

/* A packet of this alternative has been seen. Returns whether it contests the choice: the chosen
 * one has been silent. */
static bool choice_see(VantageChoice *choice, uint32_t alternative, bool preferred, bool may_wait,
                       bool may_contest, uint64_t time_ns)
{
    if (!choice->chosen && (preferred || !may_wait))
        choice->chosen = alternative;
    if (choice->chosen && choice->chosen != alternative)
        return may_contest && time_ns > choice->last_ns + VANTAGE_SILENT_NS;
    if (choice->chosen)
        choice->last_ns = MAX(choice->last_ns, time_ns);
    return false;
}

/* The judgement at the head of the line. */
static Verdict choice_judge(VantageChoice *choice, uint32_t alternative, bool contest,
                            uint64_t time_ns, bool hold_is_over)
{
    if (choice->chosen == alternative)
        return VERDICT_SHOW;
    if (choice->chosen && (!contest || choice->last_ns + VANTAGE_HOLD_NS >= time_ns))
        return VERDICT_LEAVE_OUT;
    if (!hold_is_over)
        return VERDICT_WAIT;
    choice->chosen = alternative;
    choice->last_ns = time_ns;
    return VERDICT_SHOW;
}

/* ---- In and out ------------------------------------------------------------------------------*/

static bool knows_flows(const Vantage *vantage)
{
    return vantage->translations && translations_count(vantage->translations) > 0;
}

void vantage_push(Vantage *vantage, const VantagePacket *packet)
{
    line_push(&vantage->line, packet);
    VantagePacket *p = line_at(&vantage->line, vantage->line.count - 1);
    p->service = NULL;
    p->flow = NULL;
    p->leg = NULL;
    if (packet->point->loopback || (vantage->show_all && !knows_flows(vantage)))
        return;
    p->leg = vantage_table_find(vantage->table, p);
    if (!p->leg || vantage->show_all)
        return;
    VantageLeg *leg = p->leg;
    bool at_server = vantage_leg_at_server(leg, p);
    bool at_client_point = !at_server;
    /* Of plaintext there is nothing to see between the ends. */
    bool may_contest = !p->point->plaintext;
    p->contest[0] = choice_see(&leg->points, p->point->id, at_server && !leg->to_service,
                               at_client_point && leg->server_captured && !leg->to_service,
                               may_contest, p->packet.time_ns);
    p->contest[1] = false;
    /* A point that is not the leg's choice says nothing about which leg is alive. */
    if (leg->service &&
        (!leg->points.chosen || leg->points.chosen == p->point->id || p->contest[0]))
        p->contest[1] = choice_see(&leg->service->legs, vantage_leg_side(leg), !leg->to_service,
                                   leg->server_captured, may_contest, p->packet.time_ns);
}

static Verdict judge(const Vantage *vantage, VantagePacket *packet, uint64_t frontier_ns)
{
    VantageLeg *leg = packet->leg;
    if (!leg || vantage->show_all)
        return VERDICT_SHOW;
    uint64_t time_ns = packet->packet.time_ns;
    bool hold_is_over = packet->packet.forced || frontier_ns == UINT64_MAX ||
                        frontier_ns > time_ns + VANTAGE_HOLD_NS;
    Verdict verdict =
        choice_judge(&leg->points, packet->point->id, packet->contest[0], time_ns, hold_is_over);
    if (verdict == VERDICT_SHOW && leg->service)
        verdict = choice_judge(&leg->service->legs, vantage_leg_side(leg), packet->contest[1],
                               time_ns, hold_is_over);
    return verdict;
}

static void set_service(Vantage *vantage, VantagePacket *packet)
{
    const VantageService *service = vantage_table_hold_service(vantage->table, packet->leg);
    if (!service)
        return;
    packet->service = service->entity;
    packet->flow = service->flow.id ? &service->flow : NULL;
}

bool vantage_pop(Vantage *vantage, uint64_t frontier_ns, VantagePacket *ret)
{
    Line *line = &vantage->line;
    while (line->count) {
        VantagePacket *head = line_at(line, 0);
        Verdict verdict = judge(vantage, head, frontier_ns);
        if (verdict == VERDICT_WAIT)
            return false;
        *ret = *head;
        line->head = (line->head + 1) & (line->capacity - 1);
        line->count--;
        if (verdict == VERDICT_SHOW) {
            if (ret->leg) {
                set_service(vantage, ret);
                ret->service_is_src = vantage_leg_server_is_src(ret->leg, ret);
                ret->leg = vantage_leg_unref(ret->leg);
            }
            return true;
        }
        vantage->other_vantage++;
        vantage_leg_unref(ret->leg);
        merge_buffer_unref(ret->packet.buffer);
    }
    return false;
}

size_t vantage_waiting(const Vantage *vantage)
{
    return vantage->line.count;
}

void vantage_stats(const Vantage *vantage, VantageStats *ret)
{
    *ret = (VantageStats){.other_vantage = vantage->other_vantage};
    vantage_table_stats(vantage->table, &ret->connections, &ret->evicted);
}
