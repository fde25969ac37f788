// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/hooked-files.h"

#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <glib.h>

#include "common/log.h"
#include "node-capture/tls/aside.h"

#define FILES_MAX 16384u

typedef struct File {
    dev_t device;
    ino_t inode;
    /* As it was when it was looked into: what is written anew in its place is looked at anew. */
    off_t size;
    struct timespec changed;
    uint64_t hooks[TLS_IMPLEMENTATIONS_MAX];
    unsigned n_hooks;
    TlsPoints *points;  /* NULL: there are none */
    uint64_t plaintext; /* its hook, or 0 */
    int watch; /* of inotify, while it has hooks; or -1 */
    bool used;
    bool failed; /* another attempt may do better */
} File;

struct HookedFiles {
    TlsHooks *hooks;
    TlsMeanwhile meanwhile;
    int watches_fd; /* inotify: tells when a hooked file is written to; or -1 */
    PlaintextHooks *plaintext; /* or NULL */
    GHashTable *files;         /* a set of File */
    GHashTable *by_hook;       /* &file->hooks[i] -> File */
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

static void file_free(void *data)
{
    File *file = data;
    g_free(file->points);
    g_free(file);
}

HookedFiles *hooked_files_new(TlsHooks *hooks)
{
    HookedFiles *files = g_new0(HookedFiles, 1);
    files->hooks = hooks;
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
        g_free(files);
    }
    return NULL;
}

static void hook(HookedFiles *files, File *file, const char *path, int fd, TlsArch arch,
                 const TlsImplementation *found)
{
    const char *name = tls_library_name(found->library);
    if (found->verdict != TLS_HOOKED) {
        log_info("TLS: %s: %s: not hooked: %s", path, name, found->reason);
        return;
    }
    uint64_t id;
    int error = tls_hooks_attach(files->hooks, fd, arch, found, &id);
    if (error == 0) {
        file->hooks[file->n_hooks] = id;
        g_hash_table_insert(files->by_hook, &file->hooks[file->n_hooks++], file);
        log_info("TLS: %s: %s: hooked", path, name);
    } else if (error != -EEXIST) {
        file->failed = true;
        log_warning("TLS: %s: %s: cannot be hooked: %s", path, name, g_strerror(-error));
    }
}

static void look_into(HookedFiles *files, File *file, const char *path, int fd)
{
    TlsFile found;
    int error = tls_find_aside(fd, &found, &files->meanwhile);
    if (error) {
        file->failed = error != -ENOEXEC && error != -ENOTSUP && error != -ENOSYS &&
                       error != -EBADMSG && error != -EFBIG;
        log_debug("TLS: %s: not looked into: %s", path, g_strerror(-error));
        return;
    }
    for (unsigned i = 0; i < found.n_implementations; i++) {
        hook(files, file, path, fd, found.arch, &found.implementations[i]);
    }
    if (found.plaintext.count) {
        file->points = g_memdup2(&found.plaintext, sizeof(found.plaintext));
    }
}

static void hook_plaintext(HookedFiles *files, File *file, const char *path, int fd)
{
    if (!files->plaintext || !file->points || file->plaintext) {
        return;
    }
    int error = plaintext_hooks_attach(files->plaintext, fd, file->points, &file->plaintext);
    if (error && error != -EEXIST) {
        file->plaintext = 0;
        file->failed = true;
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
    }
    files->plaintext = plaintext;
}

static bool has_hooks(const File *file)
{
    return file->n_hooks > 0 || file->plaintext;
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
    for (unsigned i = 0; i < file->n_hooks; i++) {
        tls_hooks_detach(files->hooks, file->hooks[i]);
        g_hash_table_remove(files->by_hook, &file->hooks[i]);
    }
    file->n_hooks = 0;
    if (file->plaintext) {
        plaintext_hooks_detach(files->plaintext, file->plaintext);
        file->plaintext = 0;
    }
    if (file->watch >= 0) {
        inotify_rm_watch(files->watches_fd, file->watch);
        file->watch = -1;
    }
}

/* The entry of a file as it is now, or NULL. */
static File *find_same(HookedFiles *files, const File *like)
{
    File *file = g_hash_table_lookup(files->files, like);
    if (file &&
        (file->failed || file->size != like->size || file->changed.tv_sec != like->changed.tv_sec ||
         file->changed.tv_nsec != like->changed.tv_nsec)) {
        take_hooks_out(files, file);
        g_hash_table_remove(files->files, file);
        return NULL;
    }
    return file;
}

void hooked_files_use(HookedFiles *files, const char *path, int fd)
{
    struct stat status;
    if (fstat(fd, &status) < 0) {
        return;
    }
    const File like = {.device = status.st_dev,
                       .inode = status.st_ino,
                       .size = status.st_size,
                       .changed = status.st_ctim,
                       .watch = -1,
                       .used = true};
    File *file = find_same(files, &like);
    if (file) {
        file->used = true;
        hook_plaintext(files, file, path, fd);
        watch(files, file, fd);
        return;
    }
    if (g_hash_table_size(files->files) >= FILES_MAX) {
        g_hash_table_foreach_remove(files->files, is_unhooked, NULL);
    }
    file = g_memdup2(&like, sizeof(like));
    g_hash_table_add(files->files, file);
    look_into(files, file, path, fd);
    hook_plaintext(files, file, path, fd);
    watch(files, file, fd);
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

void hooked_files_gave(HookedFiles *files, uint64_t hook_id)
{
    File *file = g_hash_table_lookup(files->by_hook, &hook_id);
    if (file) {
        file->used = true;
    }
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
