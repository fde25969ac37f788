// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/hooked-files.h"

#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

#include "common/clock.h"
#include "common/log.h"
#include "node-capture/tls/aside.h"

#define FILES_MAX     16384u
#define PATH_TOLD_MAX 1024u /* bytes */
#define RETRY_NS      (60u * 1000000000ull)

#define CALIBRATING                                                                           \
    "where it keeps the client random is found out by its first connections; later ones are " \
    "decrypted"

/* Of a file whose client random is to be found on the wire, or was found there and has no hook yet.
 */
typedef struct Calibrated {
    uint64_t hook; /* that copies sessions; 0: it was found */
    TlsArch arch;
    TlsImplementation found;
    char *key; /* of the known chains, or NULL */
} Calibrated;

/* What people are told of it. */
typedef struct Told {
    char *path, *reason;
    const char *library;
    TlsProgramState state;
} Told;

typedef struct File {
    uint64_t id; /* among the programs; 0: it has no TLS */
    dev_t device;
    ino_t inode;
    /* As it was when it was looked into: what is written anew in its place is looked at anew. */
    off_t size;
    struct timespec changed;
    uint64_t hooks[TLS_IMPLEMENTATIONS_MAX];
    unsigned n_hooks;
    Told told;              /* if it has an id */
    Calibrated *calibrated; /* or NULL */
    char *known_key;        /* a hook's chain is a known one */
    TlsPoints *points;      /* NULL: there are none */
    uint64_t plaintext;     /* its hook, or 0 */
    int watch;              /* of inotify, while it has hooks; or -1 */
    bool used;
    bool failed;           /* another attempt may do better, RETRY_NS later */
    bool plaintext_failed; /* not tried again with these hooks */
    uint64_t looked_ns;    /* monotonic */
} File;

struct HookedFiles {
    TlsHooks *hooks;
    TlsPrograms *programs;
    KnownChains *chains;
    Calibrations *calibrations;
    TlsMeanwhile meanwhile;
    int watches_fd;            /* inotify: tells when a hooked file is written to; or -1 */
    PlaintextHooks *plaintext; /* or NULL */
    uint64_t last_id;
    unsigned count;      /* that have hooks */
    GHashTable *files;   /* a set of File */
    GHashTable *by_hook; /* &file->hooks[i] -> File */
};

static guint file_hash(gconstpointer key)
{
    const File *file = key;
    return (guint)file->inode * 31 + (guint)file->device;
}

static gboolean file_equal(gconstpointer a, gconstpointer b)
{
    const File *x = a, *y = b;
    return x->device == y->device && x->inode == y->inode;
}

static Calibrated *calibrated_free(Calibrated *calibrated)
{
    if (calibrated) {
        g_free(calibrated->key);
        g_free(calibrated);
    }
    return NULL;
}

static void file_free(void *data)
{
    File *file = data;
    calibrated_free(file->calibrated);
    g_free(file->known_key);
    g_free(file->told.path);
    g_free(file->told.reason);
    g_free(file->points);
    g_free(file);
}

HookedFiles *hooked_files_new(TlsHooks *hooks, TlsPrograms *programs, KnownChains *chains)
{
    HookedFiles *files = g_new0(HookedFiles, 1);
    files->hooks = hooks;
    files->programs = programs;
    files->chains = chains;
    files->calibrations = calibrations_new(hooks);
    files->files = g_hash_table_new_full(file_hash, file_equal, file_free, NULL);
    files->by_hook = g_hash_table_new(g_int64_hash, g_int64_equal);
    files->watches_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return files;
}

void hooked_files_set_meanwhile(HookedFiles *files, const TlsMeanwhile *meanwhile)
{
    files->meanwhile = *meanwhile;
}

HookedFiles *hooked_files_free(HookedFiles *files)
{
    if (files) {
        if (files->watches_fd >= 0) {
            close(files->watches_fd);
        }
        g_hash_table_unref(files->by_hook);
        g_hash_table_unref(files->files);
        calibrations_free(files->calibrations);
        g_free(files);
    }
    return NULL;
}

/* What is told of a file that has several implementations: hooked if one is. */
typedef struct Verdict {
    const char *library;
    TlsProgramState state;
    GString *reason;
} Verdict;

static void add_to_verdict(Verdict *verdict, const char *library, TlsProgramState state,
                           const char *reason)
{
    bool first = !verdict->library;
    if (!first && *reason) {
        g_string_append_printf(verdict->reason, "%s%s ", verdict->reason->len ? "; " : "", library);
    }
    g_string_append(verdict->reason, reason);
    if (first || (state == TLS_PROGRAM_HOOKED && verdict->state != TLS_PROGRAM_HOOKED)) {
        verdict->library = library;
        verdict->state = state;
    }
}

static int attach(HookedFiles *files, File *file, int fd, TlsArch arch,
                  const TlsImplementation *found)
{
    uint64_t id;
    int error = tls_hooks_attach(files->hooks, fd, arch, found, &id);
    if (error == 0) {
        files->count += file->n_hooks == 0;
        file->hooks[file->n_hooks] = id;
        g_hash_table_insert(files->by_hook, &file->hooks[file->n_hooks++], file);
    }
    return error == -EEXIST ? 0 : error;
}

static void tell_state(HookedFiles *files, File *file, TlsProgramState state, const char *reason)
{
    g_free(file->told.reason);
    file->told.reason = g_strdup(reason);
    file->told.state = state;
    tls_programs_state(files->programs, file->id, state, reason);
}

/* ---- Client randoms that are to be found on the wire -----------------------------------------*/

static void set_chain(TlsImplementation *found, const TlsChain *chain)
{
    found->key_log.random_chain = *chain;
    found->key_log.random_origin = TLS_RANDOM_CALIBRATED;
}

/* What people are told of a hook. To be freed. */
static char *how(const TlsImplementation *found)
{
    char chain[TLS_CHAIN_TEXT];
    return found->key_log.random_origin == TLS_RANDOM_CALIBRATED
               ? g_strdup_printf("its client random, %s, was calibrated on the wire",
                                 tls_chain_text(&found->key_log.random_chain, chain))
               : g_strdup("");
}

static int begin_calibration(HookedFiles *files, File *file, int fd, TlsArch arch,
                             const TlsImplementation *found, char *key)
{
    uint64_t sampling;
    int error = file->calibrated ? -EBUSY
                                 : calibrations_begin(files->calibrations, fd, arch, found,
                                                      clock_monotonic_ns(), &sampling);
    if (error == 0) {
        file->calibrated = g_new(Calibrated, 1);
        *file->calibrated = (Calibrated){sampling, arch, *found, g_strdup(key)};
    }
    return error;
}

static void calibrate(HookedFiles *files, File *file, const char *path, int fd, TlsArch arch,
                      const TlsImplementation *found, char *key, Verdict *verdict)
{
    const char *name = tls_library_name(found->library);
    int error = begin_calibration(files, file, fd, arch, found, key);
    if (error == 0) {
        log_info("TLS: %s: %s: its client random is to be found on the wire", path, name);
        add_to_verdict(verdict, name, TLS_PROGRAM_CALIBRATING, CALIBRATING);
        return;
    }
    file->failed = true;
    add_to_verdict(verdict, name, TLS_PROGRAM_FAILED,
                   error == -EBUSY ? "its client random is to be found on the wire, and so are "
                                     "those of others, which are looked for first"
                                   : g_strerror(-error));
}

/* It was found meanwhile. */
static void hook_calibrated(HookedFiles *files, File *file, const char *path, int fd)
{
    const Calibrated *calibrated = file->calibrated;
    if (!calibrated || calibrated->hook) {
        return;
    }
    int error = attach(files, file, fd, calibrated->arch, &calibrated->found);
    g_autofree char *reason = error ? g_strdup(g_strerror(-error)) : how(&calibrated->found);
    log_info("TLS: %s: %s: %s: %s", path, tls_library_name(calibrated->found.library),
             error ? "cannot be hooked" : "hooked", reason);
    tell_state(files, file, error ? TLS_PROGRAM_FAILED : TLS_PROGRAM_HOOKED, reason);
    file->failed |= error != 0;
    g_free(file->known_key);
    file->known_key = g_strdup(calibrated->key);
    file->calibrated = calibrated_free(file->calibrated);
}

static File *find_calibrated(const HookedFiles *files, uint64_t hook)
{
    GHashTableIter iter;
    void *key;
    g_hash_table_iter_init(&iter, files->files);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        File *file = key;
        if (file->calibrated && file->calibrated->hook == hook) {
            return file;
        }
    }
    return NULL;
}

static void end_calibration(HookedFiles *files, File *file, const CalibrationOver *over)
{
    Calibrated *calibrated = file->calibrated;
    if (over->result == CALIBRATION_FOUND) {
        calibrated->hook = 0;
        set_chain(&calibrated->found, &over->chain);
        known_chains_add(files->chains, calibrated->key, &over->chain);
        return;
    }
    bool yielded = over->result == CALIBRATION_YIELDED;
    file->failed |= yielded;
    if (file->n_hooks == 0) {
        tell_state(files, file, yielded ? TLS_PROGRAM_FAILED : TLS_PROGRAM_NOT_HOOKED,
                   yielded ? "its client random is to be found on the wire, but too few of "
                             "its connections were seen; it is tried again"
                           : "its client random was not found on the wire");
    }
    file->calibrated = calibrated_free(calibrated);
}

bool hooked_files_are_calibrated(const HookedFiles *files)
{
    return calibrations_are_busy(files->calibrations);
}

bool hooked_files_calibrate(HookedFiles *files, const WireRandoms *randoms)
{
    bool any = false;
    CalibrationOver over;
    while (calibrations_poll(files->calibrations, randoms, clock_monotonic_ns(), clock_unix_ns(),
                             &over)) {
        File *file = find_calibrated(files, over.hook);
        if (file) {
            any |= over.result == CALIBRATION_FOUND;
            end_calibration(files, file, &over);
        }
    }
    return any;
}

/* ---- Looking into files ----------------------------------------------------------------------*/

static void hook(HookedFiles *files, File *file, const char *path, int fd, const TlsFile *in,
                 const TlsImplementation *told, Verdict *verdict)
{
    TlsImplementation copy = *told, *found = &copy;
    g_autofree char *key = NULL;
    const char *name = tls_library_name(found->library);
    if (found->verdict != TLS_HOOKED) {
        g_autofree char *reason = g_strdup_printf(
            "%s%s", found->verdict == TLS_DOUBTFUL ? "doubtful, " : "", found->reason);
        log_info("TLS: %s: %s: not hooked: %s", path, name, reason);
        add_to_verdict(verdict, name, TLS_PROGRAM_NOT_HOOKED, reason);
        return;
    }
    if (found->key_log.random_origin == TLS_RANDOM_ON_THE_WIRE) {
        key = known_chains_key(in, found);
        const TlsChain *chain = known_chains_get(files->chains, key);
        if (!chain) {
            calibrate(files, file, path, fd, in->arch, found, key, verdict);
            return;
        }
        set_chain(found, chain);
    }
    int error = attach(files, file, fd, in->arch, found);
    if (error == 0) {
        g_autofree char *reason = how(found);
        log_info("TLS: %s: %s: hooked%s%s", path, name, *reason ? ": " : "", reason);
        add_to_verdict(verdict, name, TLS_PROGRAM_HOOKED, reason);
        if (key) {
            g_free(file->known_key);
            file->known_key = g_steal_pointer(&key);
        }
    } else {
        file->failed = true;
        log_warning("TLS: %s: %s: cannot be hooked: %s", path, name, g_strerror(-error));
        add_to_verdict(verdict, name, TLS_PROGRAM_FAILED, g_strerror(-error));
    }
}

/* `old_id`: of the same file, when it was looked into before; or 0. */
static void tell(HookedFiles *files, File *file, const char *path, const Verdict *verdict,
                 uint64_t old_id)
{
    file->id = old_id ? old_id : ++files->last_id;
    file->told = (Told){g_strndup(path, PATH_TOLD_MAX), g_strdup(verdict->reason->str),
                        verdict->library, verdict->state};
    tls_programs_file(files->programs, file->id, path, verdict->library, verdict->state,
                      verdict->reason->str);
}

/* What nobody has used for long is forgotten there. */
static void tell_again(HookedFiles *files, const File *file)
{
    const Told *told = &file->told;
    if (file->id && !tls_programs_knows(files->programs, file->id)) {
        tls_programs_file(files->programs, file->id, told->path, told->library, told->state,
                          told->reason);
    }
}

static bool is_final(int error)
{
    return error == -ENOEXEC || error == -ENOTSUP || error == -ENOSYS || error == -EBADMSG ||
           error == -EFBIG;
}

/* Why nothing is taken of programs that could not even be looked into; their libraries are many,
 * and it is not known which have TLS. */
static const char *unknown_program(int error)
{
    switch (error) {
    case -ENOTSUP:
        return "32-bit programs are not hooked";
    case -ENOSYS:
        return "it is for another processor";
    case -EBADMSG:
        return "its headers contradict the file";
    case -EFBIG:
        return "it is larger than 1 GiB";
    default:
        return NULL;
    }
}

static void look_into(HookedFiles *files, File *file, const char *path, int fd, bool is_program,
                      uint64_t old_id)
{
    TlsFile found;
    file->looked_ns = clock_monotonic_ns();
    int error = tls_find_aside(fd, &found, &files->meanwhile);
    Verdict verdict = {.reason = g_string_new(NULL)};
    if (error) {
        file->failed = !is_final(error);
        log_debug("TLS: %s: not looked into: %s", path, g_strerror(-error));
        const char *reason = is_program ? unknown_program(error) : NULL;
        if (reason) {
            add_to_verdict(&verdict, "a program", TLS_PROGRAM_NOT_HOOKED, reason);
        }
    } else {
        for (unsigned i = 0; i < found.n_implementations; i++) {
            hook(files, file, path, fd, &found, &found.implementations[i], &verdict);
        }
    }
    if (verdict.library) {
        tell(files, file, path, &verdict, old_id);
    }
    g_string_free(verdict.reason, TRUE);
    if (!error && found.plaintext.count) {
        file->points = g_memdup2(&found.plaintext, sizeof(found.plaintext));
    }
}

static void hook_plaintext(HookedFiles *files, File *file, const char *path, int fd)
{
    if (!files->plaintext || !file->points || file->plaintext || file->plaintext_failed) {
        return;
    }
    int error = plaintext_hooks_attach(files->plaintext, fd, file->points, &file->plaintext);
    if (error && error != -EEXIST) {
        file->plaintext = 0;
        file->plaintext_failed = true;
        log_warning("TLS: %s: plaintext cannot be hooked: %s", path, g_strerror(-error));
    }
}

void hooked_files_set_plaintext(HookedFiles *files, PlaintextHooks *plaintext)
{
    GHashTableIter iter;
    void *key;
    g_hash_table_iter_init(&iter, files->files);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        ((File *)key)->plaintext = 0;
        ((File *)key)->plaintext_failed = false;
    }
    files->plaintext = plaintext;
}

static bool has_hooks(const File *file)
{
    return file->n_hooks > 0 || file->plaintext || file->calibrated;
}

/* A hook that stays in a file that is written anew would break into whatever stands there then. */
static void watch(HookedFiles *files, File *file, int fd)
{
    if (files->watches_fd < 0 || file->watch >= 0 || !has_hooks(file)) {
        return;
    }
    char path[32];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    file->watch = inotify_add_watch(files->watches_fd, path, IN_MODIFY | IN_CLOSE_WRITE);
}

static gboolean is_unhooked(void *key, void *value, void *userdata)
{
    return !has_hooks(key);
}

static void take_hooks_out(HookedFiles *files, File *file)
{
    files->count -= file->n_hooks > 0;
    for (unsigned i = 0; i < file->n_hooks; i++) {
        tls_hooks_detach(files->hooks, file->hooks[i]);
        g_hash_table_remove(files->by_hook, &file->hooks[i]);
    }
    file->n_hooks = 0;
    if (file->calibrated) {
        calibrations_end(files->calibrations, file->calibrated->hook);
        file->calibrated = calibrated_free(file->calibrated);
    }
    if (file->plaintext) {
        plaintext_hooks_detach(files->plaintext, file->plaintext);
        file->plaintext = 0;
    }
    if (file->watch >= 0) {
        inotify_rm_watch(files->watches_fd, file->watch);
        file->watch = -1;
    }
}

/* The entry of a file as it is now, or NULL; then *ret_id is its number if it had one. */
static File *find_same(HookedFiles *files, const File *like, uint64_t *ret_id)
{
    File *file = g_hash_table_lookup(files->files, like);
    if (file && ((file->failed && clock_monotonic_ns() >= file->looked_ns + RETRY_NS) ||
                 file->size != like->size || file->changed.tv_sec != like->changed.tv_sec ||
                 file->changed.tv_nsec != like->changed.tv_nsec)) {
        *ret_id = file->id;
        take_hooks_out(files, file);
        g_hash_table_remove(files->files, file);
        return NULL;
    }
    return file;
}

uint64_t hooked_files_use(HookedFiles *files, const char *path, int fd, bool is_program)
{
    struct stat status;
    if (fstat(fd, &status) < 0) {
        return 0;
    }
    const File like = {.device = status.st_dev,
                       .inode = status.st_ino,
                       .size = status.st_size,
                       .changed = status.st_ctim,
                       .watch = -1,
                       .used = true};
    uint64_t old_id = 0;
    File *file = find_same(files, &like, &old_id);
    if (file) {
        file->used = true;
        hook_calibrated(files, file, path, fd);
        hook_plaintext(files, file, path, fd);
        watch(files, file, fd);
        tell_again(files, file);
        return file->id;
    }
    if (g_hash_table_size(files->files) >= FILES_MAX) {
        g_hash_table_foreach_remove(files->files, is_unhooked, NULL);
    }
    file = g_memdup2(&like, sizeof(like));
    g_hash_table_add(files->files, file);
    look_into(files, file, path, fd, is_program, old_id);
    hook_plaintext(files, file, path, fd);
    watch(files, file, fd);
    return file->id;
}

int hooked_files_fd(const HookedFiles *files)
{
    return files->watches_fd;
}

/* `watch` < 0: it is not known which. */
static bool forget_written(HookedFiles *files, int watch)
{
    bool any = false;
    GHashTableIter iter;
    void *key;
    g_hash_table_iter_init(&iter, files->files);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        File *file = key;
        if (file->watch >= 0 && (watch < 0 || file->watch == watch)) {
            take_hooks_out(files, file);
            if (file->id) {
                tls_programs_state(files->programs, file->id, TLS_PROGRAM_FAILED,
                                   "it was written to; it is looked into when it is run again");
            }
            g_hash_table_iter_remove(&iter);
            any = true;
        }
    }
    return any;
}

bool hooked_files_dispatch(HookedFiles *files)
{
    union {
        struct inotify_event event;
        char bytes[4096];
    } buffer;
    bool any = false;
    ssize_t length;
    while ((length = read(files->watches_fd, &buffer, sizeof(buffer))) > 0) {
        for (ssize_t at = 0; at < length;) {
            const struct inotify_event *event =
                (const struct inotify_event *)(const void *)(buffer.bytes + at);
            if (!(event->mask & IN_IGNORED)) {
                any |= forget_written(files, event->mask & IN_Q_OVERFLOW ? -1 : event->wd);
            }
            at += (ssize_t)(sizeof(*event) + event->len);
        }
    }
    return any;
}

uint64_t hooked_files_gave(HookedFiles *files, uint64_t hook_id)
{
    File *file = g_hash_table_lookup(files->by_hook, &hook_id);
    if (!file) {
        return 0;
    }
    file->used = true;
    return file->id;
}

bool hooked_files_withdraw(HookedFiles *files, uint64_t hook_id, const char *reason)
{
    File *file = g_hash_table_lookup(files->by_hook, &hook_id);
    if (!file) {
        return false;
    }
    unsigned i = 0;
    while (file->hooks[i] != hook_id) {
        i++;
    }
    tls_hooks_detach(files->hooks, hook_id);
    known_chains_remove(files->chains, file->known_key);
    /* The table's keys are the places in the file. */
    for (unsigned k = 0; k < file->n_hooks; k++) {
        g_hash_table_remove(files->by_hook, &file->hooks[k]);
    }
    file->hooks[i] = file->hooks[--file->n_hooks];
    for (unsigned k = 0; k < file->n_hooks; k++) {
        g_hash_table_insert(files->by_hook, &file->hooks[k], file);
    }
    if (file->n_hooks == 0) {
        files->count--;
        tell_state(files, file, TLS_PROGRAM_WITHDRAWN, reason);
    }
    return true;
}

unsigned hooked_files_count(const HookedFiles *files)
{
    return files->count;
}

void hooked_files_sweep(HookedFiles *files)
{
    GHashTableIter iter;
    void *key;
    g_hash_table_iter_init(&iter, files->files);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        File *file = key;
        if (!file->used && has_hooks(file)) {
            take_hooks_out(files, file);
            g_hash_table_iter_remove(&iter);
        } else {
            file->used = false;
        }
    }
}

void hooked_files_forget_use(HookedFiles *files)
{
    GHashTableIter iter;
    void *key;
    g_hash_table_iter_init(&iter, files->files);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        ((File *)key)->used = false;
    }
}
