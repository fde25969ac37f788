// SPDX-License-Identifier: GPL-2.0-or-later
#include "extcap/files.h"

#include <glib/gstdio.h>
#include <string.h>
#ifdef G_OS_WIN32
#include <io.h>
#else
#include <unistd.h>
#endif

#include "collector/collector.h"
#include "common/log.h"
#include "extcap/names.h"

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

static bool usage_error(GError **error, const char *command, const char *text)
{
    g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE, "%s: %s", command, text);
    return false;
}

static bool check(const char *command, char **files, GError **error)
{
    if (!files[0] || !files[1] || files[2])
        return usage_error(error, command,
                           "expected two files, IN and OUT (- is standard input or output)");
    if (is_same_file(files[0], files[1]))
        return usage_error(error, command, "IN and OUT are the same file");
    if (strcmp(files[1], "-") == 0 && isatty(1))
        return usage_error(error, command,
                           "standard output is a terminal, which pcapng would garble: name a file");
    return true;
}

static const char *name_of(const char *out)
{
    return strcmp(out, "-") == 0 ? "standard output" : out;
}

bool files_annotate(const RemoradumpOptions *options, char **files, GError **error)
{
    if (!check("--annotate", files, error))
        return false;
    if (!options->inventory)
        return usage_error(error, "--annotate",
                           "needs --inventory FILE, made by: kubectl get "
                           "pods,services,endpointslices,nodes,namespaces -A -o json > FILE");
    const char *in = files[0], *out = files[1];
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
                 stats.packets, name_of(out), stats.named);
    else if (stats.packets)
        g_prefix_error(error, "%" G_GUINT64_FORMAT " packets written to %s, then: ", stats.packets,
                       name_of(out));
    return ok;
}

bool files_keys_first(char **files, GError **error)
{
    if (!check("--keys-first", files, error))
        return false;
    CollectorKeysFirstStats stats = {0};
    bool ok = collector_keys_first(files[0], files[1], &stats, error);
    const char *out = name_of(files[1]);
    if (!ok && stats.sections && g_error_matches(*error, COLLECTOR_ERROR, COLLECTOR_ERROR_FORMAT))
        g_prefix_error(error,
                       "what came before, with %" G_GUINT64_FORMAT
                       " blocks of secrets, is written to %s: ",
                       stats.secrets, out);
    else if (ok && !stats.secrets)
        log_warning("%s: no secrets in it; written to %s as it is", files[0], out);
    else if (ok)
        log_info("%" G_GUINT64_FORMAT " blocks of secrets written to %s ahead of the packets, "
                 "%" G_GUINT64_FORMAT " of them stood further behind",
                 stats.secrets, out, stats.moved);
    return ok;
}
