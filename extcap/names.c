// SPDX-License-Identifier: GPL-2.0-or-later
#include "extcap/names.h"

#include <glib/gstdio.h>
#include <string.h>
#ifdef G_OS_WIN32
#include <io.h>
#else
#include <unistd.h>
#endif

#include "collector/collector.h"
#include "common/log.h"
#include "k8s-enrich/inventory-file.h"

Inventory *names_load(const char *path, void (*warn)(const char *text, void *userdata),
                      void *userdata, GError **error)
{
    InventoryFile *file = inventory_file_read(path, error);
    if (!file)
        return NULL;
    for (guint i = 0; i < file->warnings->len; i++)
        warn(file->warnings->pdata[i], userdata);
    Inventory *inventory = inventory_new();
    for (guint i = 0; i < file->entities->len; i++)
        inventory_add(inventory, file->entities->pdata[i]);
    inventory_file_free(file);
    return inventory;
}

static void warn_on_stderr(const char *text, void *userdata)
{
    log_warning("%s", text);
}

/* Writing over the file that is read would leave nothing of it. */
static bool is_same_file(const char *a, const char *b)
{
    GStatBuf first, second;
    if (strcmp(a, "-") == 0 || g_stat(a, &first) < 0 || g_stat(b, &second) < 0)
        return false;
    return first.st_ino != 0 && first.st_ino == second.st_ino && first.st_dev == second.st_dev;
}

static bool usage_error(GError **error, const char *text)
{
    g_set_error_literal(error, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE, text);
    return false;
}

bool names_annotate(const RemoradumpOptions *options, char **files, GError **error)
{
    if (!files[0] || !files[1] || files[2])
        return usage_error(
            error, "--annotate: expected two files, IN and OUT (- is standard input or output)");
    const char *in = files[0], *out = files[1];
    if (!options->inventory)
        return usage_error(error,
                           "--annotate: needs --inventory FILE, made by: kubectl get "
                           "pods,services,endpointslices,nodes,namespaces -A -o json > FILE");
    if (is_same_file(in, out))
        return usage_error(error, "--annotate: IN and OUT are the same file");
    if (strcmp(out, "-") == 0 && isatty(1))
        return usage_error(
            error,
            "--annotate: standard output is a terminal, which pcapng would garble: name a file");

    Inventory *inventory = names_load(options->inventory, warn_on_stderr, NULL, error);
    if (!inventory)
        return false;
    CollectorAnnotateStats stats = {0};
    bool ok = collector_annotate_file(in, out, inventory, options->cluster, options->comments,
                                      &stats, error);
    inventory_free(inventory);
    if (stats.stray_statistics)
        log_warning("%s: statistics of an interface that was never described, %" G_GUINT64_FORMAT
                    " times; copied as they are",
                    in, stats.stray_statistics);
    if (ok)
        log_info("%" G_GUINT64_FORMAT " packets written to %s, %" G_GUINT64_FORMAT " of them named",
                 stats.packets, strcmp(out, "-") == 0 ? "standard output" : out, stats.named);
    else if (stats.packets)
        g_prefix_error(error, "%" G_GUINT64_FORMAT " packets written to %s, then: ", stats.packets,
                       out);
    return ok;
}
