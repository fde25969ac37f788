// SPDX-License-Identifier: GPL-2.0-or-later
/* The product's capture source into a file: nothing between the two. */
#include <stdio.h>
#include <unistd.h>

#include <glib.h>

#include "bench/engines/engine.h"
#include "node-capture/source/source.h"

typedef struct Capture {
    int output;
    uint64_t packets, lost;
} Capture;

static Source *source; /* for the signal handler */

static void on_interface(const SourceInterface *interface, void *userdata)
{
    Capture *capture = userdata;
    g_autofree char *name = g_strdup_printf("%u/%s", interface->target_id, interface->device);
    engine_write_interface(capture->output, name);
}

static void on_packets(uint32_t target_id, Batch *batch, void *userdata)
{
    Capture *capture = userdata;
    capture->packets += batch->count;
    engine_write(capture->output, batch->data, batch->length);
}

static void on_lost(uint32_t target_id, uint64_t packets, uint64_t from_ns, uint64_t to_ns,
                    bool unknown, void *userdata)
{
    Capture *capture = userdata;
    capture->lost += packets;
}

static void on_watermark(uint64_t unix_ns, void *userdata)
{
}

static void on_ended(uint32_t target_id, int error, const char *message, void *userdata)
{
    fprintf(stderr, "target %u: %s\n", target_id, message);
}

static void on_signal(int signal_number)
{
    engine_stopping = 1;
    source->ops->wake(source);
}

static void add(uint32_t id, const char *name)
{
    const CaptureTarget target = {
        .id = id, .uid = name, .label = name, .netns_fd = engine_open_namespace(name)};
    const char *message;
    int error = source->ops->add(source, &target, &message);
    if (error)
        g_error("%s: %s: %s", name, message, g_strerror(-error));
    close(target.netns_fd);
}

int main(int argc, char **argv)
{
    static const SourceCallbacks callbacks = {on_interface, on_packets, on_lost, on_watermark,
                                              on_ended};
    EngineValues values;
    engine_options("capture-file", argc, argv, &values);
    Capture capture = {.output = engine_open_output(values.output)};
    source = source_afpacket_new(values.ring_bytes, &callbacks, &capture);
    if (!source)
        g_error("cannot make a capture source");
    uint32_t targets = 0;
    for (; values.namespaces[targets]; targets++)
        add(targets, values.namespaces[targets]);
    engine_ready(on_signal);
    while (!engine_stopping)
        source->ops->run(source, -1);
    uint64_t ring_bytes = source->ops->ring_bytes(source);
    for (uint32_t id = 0; id < targets; id++)
        source->ops->remove(source, id, NULL);
    source->ops->free(source);
    close(capture.output);
    engine_report(capture.packets, capture.lost, ring_bytes);
    return 0;
}
