// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/explain.h"

#include <errno.h>
#include <fcntl.h>
#include <gio/gio.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "node-capture/tls/mapped-file.h"

static const char *place_text(TlsArch arch, TlsPlace place, char buffer[static 16])
{
    return tls_place_name(arch, place, buffer);
}

static void print_random(TlsArch arch, const TlsKeyLog *log, FILE *out)
{
    char buffer[16], chain[TLS_CHAIN_TEXT];
    fputs("    client random: ", out);
    switch (log->random_origin) {
    case TLS_RANDOM_ARGUMENT:
        fprintf(out, "at %s\n", place_text(arch, log->random, buffer));
        return;
    case TLS_RANDOM_ON_THE_WIRE:
        fputs("to be found in the session by what is seen on the wire, which is done at the first "
              "connections\n",
              out);
        return;
    case TLS_RANDOM_CALIBRATED:
    case TLS_RANDOM_ACCESSOR:
    case TLS_RANDOM_BODY:
        break;
    }
    fprintf(out, "%s, %s%s\n", tls_chain_text(&log->random_chain, chain),
            log->random_origin == TLS_RANDOM_CALIBRATED ? "calibrated on the wire"
            : log->random_origin == TLS_RANDOM_ACCESSOR
                ? "decoded from the exported accessor"
                : "decoded from the key-log function itself",
            log->random_agrees ? "; the key-log function says the same" : "");
}

static void print_labels(unsigned labels, FILE *out)
{
    const char *separator = "";
    for (unsigned label = 0; label < TLS_LABELS; label++) {
        if (labels >> label & 1) {
            fprintf(out, "%s%s", separator, tls_label_name((TlsLabel)label));
            separator = ", ";
        }
    }
}

static void print_function(TlsArch arch, const TlsKeyLog *log, FILE *out)
{
    char a[16], b[16], c[16], d[16], e[16];
    fprintf(out, "    key-log function: address 0x%" PRIx64 ", offset in the file 0x%" PRIx64 "\n",
            log->address, log->offset);
    if (log->by_symbol) {
        fputs("    found by its name\n", out);
    } else {
        fprintf(out, "    found by its callers: %u of %u references%s: ", log->votes, log->sites,
                log->votes == log->sites ? ", unanimous" : "");
        print_labels(log->labels, out);
        fprintf(out, "%s\n",
                log->begins_function == 1   ? "; a function begins there"
                : log->begins_function == 0 ? "; no function begins there"
                                            : "; no unwind tables to check with");
    }
    fprintf(out, "    session %s, label %s, its length %s, secret %s, its length %s\n",
            place_text(arch, log->session, a), place_text(arch, log->label, b),
            log->label_length.kind == TLS_NOWHERE ? "to its zero byte"
                                                  : place_text(arch, log->label_length, c),
            place_text(arch, log->secret, d), place_text(arch, log->secret_length, e));
    print_random(arch, log, out);
    if (log->probe.offset != log->offset) {
        fprintf(
            out, "    probed at offset 0x%" PRIx64 ": there label %s, secret %s, its length %s\n",
            log->probe.offset, place_text(arch, log->probe.label, a),
            place_text(arch, log->probe.secret, b), place_text(arch, log->probe.secret_length, c));
    }
}

static void print_implementation(TlsArch arch, const TlsImplementation *found, FILE *out)
{
    static const char *const verdicts[] = {[TLS_HOOKED] = "can be hooked",
                                           [TLS_DOUBTFUL] = "doubtful, not hooked",
                                           [TLS_NOT_HOOKED] = "not hooked"};
    fprintf(out, "  %s%s%s (by %s): %s%s%s\n", tls_library_name(found->library),
            *found->version ? " " : "", found->version, found->evidence, verdicts[found->verdict],
            *found->reason ? ", because " : "", found->reason);
    if (found->verdict != TLS_NOT_HOOKED) {
        print_function(arch, &found->key_log, out);
    }
}

/* Points of one function stand together. */
static void print_points(const TlsPoints *points, FILE *out)
{
    if (points->count) {
        fputs("  plaintext can be taken at\n", out);
    } else if (*points->reason) {
        fprintf(out, "  plaintext cannot be taken, because %s\n", points->reason);
    }
    for (unsigned i = 0; i < points->count; i++) {
        const TlsPoint *point = &points->points[i];
        fprintf(out, "    %s %s: address 0x%" PRIx64 ", offset in the file 0x%" PRIx64 "%s\n",
                tls_point_kind_name(point->kind), point->name, point->address, point->offset,
                tls_point_returns(point->kind) ? ", and its return" : "");
    }
}

void tls_explain_file(const char *path, const TlsFile *file, FILE *out)
{
    fprintf(out, "%s\n  ELF, %s, %s, build id ", path,
            file->arch == TLS_X86_64 ? "x86-64" : "arm64",
            file->is_fixed ? "fixed addresses" : "movable");
    for (size_t i = 0; i < file->build_id_length; i++) {
        fprintf(out, "%02x", file->build_id[i]);
    }
    fputs(file->build_id_length ? "\n" : "none\n", out);
    for (unsigned i = 0; i < file->n_implementations; i++) {
        print_implementation(file->arch, &file->implementations[i], out);
    }
    if (!file->n_implementations) {
        fprintf(out, "  %s\n", file->is_go ? "a Go program without crypto/tls" : "no TLS in it");
    }
    print_points(&file->plaintext, out);
    fprintf(out, "  looked at %" PRIu64 " bytes%s\n", file->work,
            file->work >= file->work_limit ? ": too many, the search was given up" : "");
}

static const char *error_text(int error)
{
    switch (error) {
    case -ENOEXEC:
        return "no ELF file";
    case -ENOTSUP:
        return "32-bit, not hooked";
    case -ENOSYS:
        return "of a processor that is not known, not hooked";
    case -EBADMSG:
        return "its headers contradict the file, not hooked";
    case -EIO:
        return "it was cut short while it was read";
    default:
        return g_strerror(-error);
    }
}

typedef struct Explanation {
    FILE *out;
    unsigned without, told;
} Explanation;

static bool explain_mapped(void *context, const char *path, int fd)
{
    Explanation *explanation = context;
    TlsFile file;
    int error = fd < 0 ? fd : tls_find_in_file(fd, &file);
    if (error) {
        fprintf(explanation->out, "%s\n  %s\n", path, error_text(error));
        explanation->told++;
    } else if (file.n_implementations || file.is_go) {
        tls_explain_file(path, &file, explanation->out);
        explanation->told++;
    } else {
        explanation->without++;
    }
    return true;
}

static bool explain_process(pid_t pid, FILE *out, GError **error)
{
    Explanation explanation = {.out = out};
    int result = tls_visit_process(pid, explain_mapped, &explanation);
    if (!result && !explanation.told && !explanation.without) {
        result = -ENOEXEC;
    }
    if (result) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-result), "process %d: %s", (int)pid,
                    result == -ENOEXEC ? "it has no program mapped" : g_strerror(-result));
        return false;
    }
    fprintf(out, "%u more mapped files have no TLS in them\n", explanation.without);
    return true;
}

bool tls_explain(const char *target, FILE *out, GError **error)
{
    TlsFile file;
    guint64 pid = 0;
    int fd = open(target, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int result = fd < 0 ? -errno : 0;
    if (result && g_ascii_string_to_unsigned(target, 10, 1, G_MAXINT32, &pid, NULL)) {
        return explain_process((pid_t)pid, out, error);
    }
    if (fd >= 0) {
        result = tls_find_in_file(fd, &file);
        close(fd);
    }
    if (result) {
        g_set_error(error, G_IO_ERROR, g_io_error_from_errno(-result), "%s: %s", target,
                    error_text(result));
        return false;
    }
    tls_explain_file(target, &file, out);
    return true;
}
