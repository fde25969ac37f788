// SPDX-License-Identifier: GPL-2.0-or-later
#include "extcap/capture.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "collector/collector.h"
#include "common/log.h"
#include "extcap/filter.h"
#include "extcap/lists.h"
#include "extcap/names.h"
#include "extcap/writer.h"

#define STATUS_INTERVAL_US G_USEC_PER_SEC
/* Whoever waits in front of tshark wants the error soon; three round trips around the world fit. */
#define CONNECT_TIMEOUT_NS (1 * (uint64_t)1000000000)

#define WARNINGS_MAX 10 /* tshark shows the first 1024 bytes */

typedef struct Capture {
    const RemoradumpOptions *options;
    Control *control;
    bool alone; /* started by a person, not by Wireshark: notes and a summary on standard error */
    char *filter;
    Inventory *inventory;
    Collector *collector;
    Writer *writer;
    GPtrArray *warnings; /* of char *; for tshark, at the end */
    GMutex mutex;
    GCond ended;
    bool has_ended;
} Capture;

/* For the signal handler; NULL when there is nothing to stop any more. */
static Collector *volatile running;
static volatile sig_atomic_t signals;

static void on_signal(int number)
{
    if (signals++ > 0)
        _Exit(128 + number);
    if (running)
        collector_stop(running);
#ifdef G_OS_WIN32
    signal(number, on_signal); /* is reset there at each signal */
#endif
}

/* Wireshark shows what stands on standard error as an error when the capture ends, so its toolbar
 * gets the notes. tshark has none: it gets the warnings, at the end, and only if there is no error
 * to tell. */
static void on_note(CollectorNoteLevel level, const char *text, void *userdata)
{
    Capture *capture = userdata;
    bool is_warning = level == COLLECTOR_WARNING;
    if (capture->control) {
        (is_warning ? control_warn : control_log)(capture->control, text);
    } else if (capture->alone) {
        log_message(is_warning ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO, "%s", text);
    } else if (is_warning) {
        g_mutex_lock(&capture->mutex);
        if (capture->warnings->len < WARNINGS_MAX)
            g_ptr_array_add(capture->warnings, g_strdup(text));
        g_mutex_unlock(&capture->mutex);
    }
}

static void on_warning(const char *text, void *userdata)
{
    on_note(COLLECTOR_WARNING, text, userdata);
}

static int stop_when_full(const Capture *capture, int r)
{
    if (r == 0 && writer_full(capture->writer))
        collector_stop(capture->collector);
    return r;
}

static int on_write(const uint8_t *bytes, size_t length, void *userdata)
{
    Capture *capture = userdata;
    return stop_when_full(capture, writer_write(capture->writer, bytes, length));
}

static int on_write_pieces(const CollectorBytes *pieces, size_t n_pieces, void *userdata)
{
    Capture *capture = userdata;
    return stop_when_full(capture, writer_write_pieces(capture->writer, pieces, n_pieces));
}

static uint64_t lost(const CollectorStats *stats)
{
    return stats->lost_ring + stats->lost_queue + stats->lost_collector + stats->lost_invalid +
           stats->lost_plaintext;
}

static void show_status(Capture *capture)
{
    CollectorStats stats;
    collector_stats(capture->collector, &stats);
    g_autofree char *text =
        g_strdup_printf("%u of %u nodes, %" G_GUINT64_FORMAT " packets, %" G_GUINT64_FORMAT " lost",
                        stats.nodes_connected, stats.nodes, stats.packets_written, lost(&stats));
    control_set_status(capture->control, text);
}

/* Beside the collector, each second: the toolbar's status, and whether anybody still reads. Also
 * the end of --duration. */
static gpointer keep_time(gpointer userdata)
{
    Capture *capture = userdata;
    uint64_t duration_us = capture->options->duration_ns / 1000;
    gint64 stop = duration_us ? g_get_monotonic_time() + (gint64)duration_us : G_MAXINT64;
    g_mutex_lock(&capture->mutex);
    while (!capture->has_ended) {
        gint64 now = g_get_monotonic_time();
        if (now >= stop || writer_abandoned(capture->writer)) {
            collector_stop(capture->collector);
            stop = G_MAXINT64;
        }
        if (capture->control)
            show_status(capture);
        g_cond_wait_until(&capture->ended, &capture->mutex, MIN(stop, now + STATUS_INTERVAL_US));
    }
    g_mutex_unlock(&capture->mutex);
    return NULL;
}

/* Beside the collector, so that the first packet does not wait for it. */
static gpointer check_matches(gpointer userdata)
{
    Capture *capture = userdata;
    g_autofree char *text = lists_nothing_matches(capture->options);
    if (text)
        on_note(COLLECTOR_WARNING, text, capture);
    return NULL;
}

/* A capture that never began has its error, and no more to tell. */
static void summarize(const Capture *capture, bool succeeded)
{
    CollectorStats stats;
    collector_stats(capture->collector, &stats);
    if (!succeeded && stats.packets_written == 0)
        return;
    if (writer_bytes(capture->writer) == 0 && stats.packets_written == 0) {
        log_info("Stopped before a node answered: nothing written to %s",
                 writer_name(capture->writer));
        return;
    }
    /* Under a limit the collector hands over more than is written. */
    uint64_t limit = capture->options->packets;
    uint64_t packets = limit ? MIN(limit, stats.packets_written) : stats.packets_written;
    g_autofree char *size = g_format_size(writer_bytes(capture->writer));
    g_autoptr(GString) text = g_string_new(NULL);
    g_string_append_printf(text, "%" G_GUINT64_FORMAT " packets, %s written to %s; ", packets, size,
                           writer_name(capture->writer));
    if (lost(&stats) == 0)
        g_string_append(text, "none lost");
    else
        g_string_append_printf(
            text,
            "lost: %" G_GUINT64_FORMAT " in the nodes' rings, %" G_GUINT64_FORMAT
            " in their queues, %" G_GUINT64_FORMAT " here, %" G_GUINT64_FORMAT " invalid",
            stats.lost_ring, stats.lost_queue, stats.lost_collector, stats.lost_invalid);
    if (stats.lost_plaintext)
        g_string_append_printf(text, ", %" G_GUINT64_FORMAT " of plaintext of TLS",
                               stats.lost_plaintext);
    if (stats.gaps)
        g_string_append_printf(text,
                               "; a node was away %" G_GUINT64_FORMAT
                               " times, with an unknown number of packets",
                               stats.gaps);
    if (stats.stalls)
        g_string_append_printf(text,
                               "; a node told nothing for long %" G_GUINT64_FORMAT
                               " times, and %" G_GUINT64_FORMAT " packets came late",
                               stats.stalls, stats.late);
    if (stats.other_vantage)
        g_string_append_printf(text,
                               "; %" G_GUINT64_FORMAT
                               " left out as seen at another pod too (--vantage all keeps them)",
                               stats.other_vantage);
    log_info("%s", text->str);
}

static bool check_options(const RemoradumpOptions *options, char **operands, GError **error)
{
    if (options->fifo && options->write)
        g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE,
                    "--fifo and --write: give only one of them");
    else if (!options->fifo && !options->write)
        g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE,
                    "--capture: say where to write, with --write FILE or --fifo FILE (- is "
                    "standard output)");
    else if (options->filter && operands[0])
        g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE,
                    "'%s': there is a filter in --extcap-capture-filter already", operands[0]);
    else
        return remoradump_check_endpoints(options, error) &&
               remoradump_check_selection(options, error);
    return false;
}

static CollectorTls tls_mode(const char *name)
{
    static const char *const names[] = {
        [COLLECTOR_TLS_OFF] = "off",
        [COLLECTOR_TLS_KEYS] = "keys",
        [COLLECTOR_TLS_AUTO] = "auto",
        [COLLECTOR_TLS_PLAINTEXT] = "plaintext",
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(name, names[i]) == 0)
            return (CollectorTls)i;
    }
    return COLLECTOR_TLS_OFF;
}

static bool prepare(Capture *capture, char **operands, GError **error)
{
    const RemoradumpOptions *options = capture->options;
    static const CollectorSink sink = {
        .write = on_write, .write_pieces = on_write_pieces, .note = on_note};
    if (!check_options(options, operands, error))
        return false;
    capture->filter = options->filter ? g_strdup(options->filter) : g_strjoinv(" ", operands);
    if (!filter_check(capture->filter, error))
        return false;
    if (options->inventory) {
        capture->inventory = names_load(options->inventory, on_warning, capture, error);
        if (!capture->inventory)
            return false;
    }
    CollectorConfig config = {
        .endpoints = options->endpoints,
        .insecure = options->insecure,
        .namespaces = options->namespaces,
        .pods = options->pods,
        .label_selector = options->selector,
        .filter = *capture->filter ? capture->filter : NULL,
        .snap_length = (uint32_t)options->snap_length,
        .tls = tls_mode(options->tls),
        .vantage =
            strcmp(options->vantage, "all") == 0 ? COLLECTOR_VANTAGE_ALL : COLLECTOR_VANTAGE_ONE,
        .comments = options->comments,
        .client = "remoradump " REMORA_VERSION,
        .cluster = options->cluster,
        .max_wait_ns = options->max_wait_ns,
        .connect_timeout_ns =
            options->connect_timeout_ns ? options->connect_timeout_ns : CONNECT_TIMEOUT_NS,
        .inventory = capture->inventory,
    };
    capture->collector = collector_new(&config, &sink, capture, error);
    return capture->collector != NULL;
}

static bool collect(Capture *capture, GError **error)
{
    GThread *time = g_thread_new("time", keep_time, capture);
    GThread *matches = g_thread_new("matches", check_matches, capture);
    running = capture->collector;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);

    bool ok = collector_run(capture->collector, error);

    g_mutex_lock(&capture->mutex);
    capture->has_ended = true;
    g_cond_signal(&capture->ended);
    g_mutex_unlock(&capture->mutex);
    g_thread_join(time);
    g_thread_join(matches);
    return ok;
}

bool capture_run(const RemoradumpOptions *options, char **operands, Control *control,
                 bool *ret_opened, GError **error)
{
    Capture capture = {.options = options, .control = control};
    const char *path = options->write ? options->write : options->fifo;
    capture.alone = options->write || (path && strcmp(path, "-") == 0);
    capture.warnings = g_ptr_array_new_with_free_func(g_free);
    g_mutex_init(&capture.mutex);
    g_cond_init(&capture.ended);
    *ret_opened = false;

    /* The output comes last: a mistake in the options shall not cost the file that is there. Until
     * then a signal just ends us. */
    bool ok = prepare(&capture, operands, error) &&
              (capture.writer = writer_open(path, options->packets, error));
    if (ok) {
        g_autoptr(GError) write_error = NULL;
        *ret_opened = true;
        ok = collect(&capture, error);
        if (capture.alone)
            summarize(&capture, ok);
        /* Of the two errors after a failed write this one names the file. */
        if (!writer_close(capture.writer, &write_error)) {
            g_clear_error(error);
            g_propagate_error(error, g_steal_pointer(&write_error));
            ok = false;
        }
    }
    /* The handler stays: when the fifo is closed tshark sends SIGTERM, and the error is still to be
     * told. */
    running = NULL;
    collector_free(capture.collector);
    inventory_free(capture.inventory);
    for (guint i = 0; ok && i < capture.warnings->len; i++)
        log_warning("%s", (const char *)capture.warnings->pdata[i]);
    g_ptr_array_unref(capture.warnings);
    g_free(capture.filter);
    g_mutex_clear(&capture.mutex);
    g_cond_clear(&capture.ended);
    return ok;
}
