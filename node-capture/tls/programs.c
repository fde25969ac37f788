// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/programs.h"

#include <glib.h>
#include <string.h>

#define TEXT_MAX 512u /* of a path or reason */

typedef struct File {
    uint64_t id;
    unsigned uses;
    char *path, *library, *reason;
    TlsProgramState state;
} File;

typedef struct Process {
    TlsProcess told;
    uint32_t round; /* in which it was told last */
} Process;

/* A file in a namespace. */
typedef struct Use {
    uint64_t netns_inode;
    File *file;
    GHashTable *processes; /* pid -> Process */
    uint64_t lines, last_unix_ns;
    uint64_t idle_ns; /* since when nobody runs it; 0: not so, as of the last look */
} Use;

typedef struct Connections {
    uint64_t seen, with_secrets;
} Connections;

struct TlsPrograms {
    GMutex lock;
    GHashTable *connections; /* netns_inode -> Connections */
    GHashTable *files;       /* &file->id -> File */
    GHashTable *uses;        /* &netns_inode -> GPtrArray of Use */
    uint32_t round;
    uint64_t generation;
};

/* ---- Files -----------------------------------------------------------------------------------*/

static void file_free(void *data)
{
    File *file = data;
    g_free(file->path);
    g_free(file->library);
    g_free(file->reason);
    g_free(file);
}

/* Paths are strangers' bytes. */
static char *printable(const char *text)
{
    g_autofree char *cut = g_strndup(text, TEXT_MAX);
    char *valid = g_utf8_make_valid(cut, -1);
    for (char *c = valid; *c; c++) {
        if (g_ascii_iscntrl(*c)) {
            *c = '?';
        }
    }
    return valid;
}

static File *find_file(const TlsPrograms *programs, uint64_t id)
{
    return g_hash_table_lookup(programs->files, &id);
}

/* Returns whether it is another one. */
static bool set_state(File *file, TlsProgramState state, const char *reason)
{
    g_autofree char *text = printable(reason);
    bool changed = file->state != state || g_strcmp0(file->reason, text) != 0;
    file->state = state;
    g_free(file->reason);
    file->reason = g_steal_pointer(&text);
    return changed;
}

static gboolean is_unused(void *id, void *value, void *userdata)
{
    return ((const File *)value)->uses == 0;
}

static void forget_unused(TlsPrograms *programs)
{
    g_hash_table_foreach_remove(programs->files, is_unused, NULL);
}

/* Nobody who runs many files shall keep others from having their few told. */
static void make_room(TlsPrograms *programs)
{
    forget_unused(programs);
    while (g_hash_table_size(programs->files) >= TLS_PROGRAMS_ALL) {
        GHashTableIter iter;
        void *value;
        GPtrArray *most = NULL;
        g_hash_table_iter_init(&iter, programs->uses);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
            GPtrArray *uses = value;
            most = !most || uses->len > most->len ? uses : most;
        }
        g_ptr_array_set_size(most, (gint)(most->len - (most->len / 4 + 1)));
        forget_unused(programs);
    }
}

static File *add_file(TlsPrograms *programs, uint64_t id, const char *path)
{
    if (g_hash_table_size(programs->files) >= TLS_PROGRAMS_ALL) {
        make_room(programs);
    }
    File *file = g_new0(File, 1);
    file->id = id;
    file->path = printable(path);
    g_hash_table_insert(programs->files, &file->id, file);
    return file;
}

void tls_programs_file(TlsPrograms *programs, uint64_t id, const char *path, const char *library,
                       TlsProgramState state, const char *reason)
{
    g_mutex_lock(&programs->lock);
    File *file = find_file(programs, id);
    file = file ? file : add_file(programs, id, path);
    g_free(file->library);
    file->library = printable(library);
    programs->generation += set_state(file, state, reason) && file->uses > 0;
    g_mutex_unlock(&programs->lock);
}

bool tls_programs_knows(TlsPrograms *programs, uint64_t id)
{
    g_mutex_lock(&programs->lock);
    bool known = find_file(programs, id);
    g_mutex_unlock(&programs->lock);
    return known;
}

void tls_programs_state(TlsPrograms *programs, uint64_t id, TlsProgramState state,
                        const char *reason)
{
    g_mutex_lock(&programs->lock);
    File *file = find_file(programs, id);
    programs->generation += file && set_state(file, state, reason) && file->uses > 0;
    g_mutex_unlock(&programs->lock);
}

/* ---- Uses ------------------------------------------------------------------------------------*/

static void use_free(void *data)
{
    Use *use = data;
    use->file->uses--;
    g_hash_table_unref(use->processes);
    g_free(use);
}

static GPtrArray *uses_of(const TlsPrograms *programs, uint64_t netns_inode)
{
    return g_hash_table_lookup(programs->uses, &netns_inode);
}

static Use *find_use(const TlsPrograms *programs, uint64_t netns_inode, uint64_t file)
{
    const GPtrArray *uses = uses_of(programs, netns_inode);
    for (guint i = 0; uses && i < uses->len; i++) {
        Use *use = uses->pdata[i];
        if (use->file->id == file) {
            return use;
        }
    }
    return NULL;
}

/* NULL: it is not known, or there are too many. */
static Use *add_use(TlsPrograms *programs, uint64_t netns_inode, uint64_t id)
{
    File *file = find_file(programs, id);
    GPtrArray *uses = uses_of(programs, netns_inode);
    if (!file || (uses && uses->len >= TLS_PROGRAMS_MAX)) {
        return NULL;
    }
    if (!uses) {
        uses = g_ptr_array_new_with_free_func(use_free);
        g_hash_table_insert(programs->uses, g_memdup2(&netns_inode, sizeof(netns_inode)), uses);
    }
    Use *use = g_new0(Use, 1);
    use->netns_inode = netns_inode;
    use->file = file;
    use->processes = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    file->uses++;
    g_ptr_array_add(uses, use);
    programs->generation++;
    return use;
}

static Process *find_process(const Use *use, pid_t pid)
{
    return g_hash_table_lookup(use->processes, GINT_TO_POINTER(pid));
}

bool tls_programs_has(TlsPrograms *programs, uint64_t netns_inode, uint64_t file, pid_t pid)
{
    g_mutex_lock(&programs->lock);
    const Use *use = find_use(programs, netns_inode, file);
    Process *process = use ? find_process(use, pid) : NULL;
    if (process) {
        process->round = programs->round;
    }
    g_mutex_unlock(&programs->lock);
    return process != NULL;
}

void tls_programs_use(TlsPrograms *programs, uint64_t netns_inode, uint64_t file,
                      const TlsProcess *told)
{
    g_mutex_lock(&programs->lock);
    Use *use = find_use(programs, netns_inode, file);
    use = use ? use : add_use(programs, netns_inode, file);
    if (use && g_hash_table_size(use->processes) < TLS_PROGRAM_PROCESSES) {
        Process *process = g_new0(Process, 1);
        process->told = *told;
        process->round = programs->round;
        g_hash_table_replace(use->processes, GINT_TO_POINTER(told->pid), process);
        use->idle_ns = 0;
    }
    g_mutex_unlock(&programs->lock);
}

void tls_programs_gave(TlsPrograms *programs, uint64_t netns_inode, uint64_t file,
                       uint64_t time_unix_ns)
{
    g_mutex_lock(&programs->lock);
    Use *use = find_use(programs, netns_inode, file);
    use = use ? use : add_use(programs, netns_inode, file);
    if (use) {
        use->lines++;
        use->last_unix_ns = MAX(use->last_unix_ns, time_unix_ns);
    }
    g_mutex_unlock(&programs->lock);
}

/* ---- What is gone ----------------------------------------------------------------------------*/

static void each_use(const TlsPrograms *programs, void (*function)(Use *use, void *context),
                     void *context)
{
    GHashTableIter iter;
    void *value;
    g_hash_table_iter_init(&iter, programs->uses);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const GPtrArray *uses = value;
        for (guint i = 0; i < uses->len; i++) {
            function(uses->pdata[i], context);
        }
    }
}

void tls_programs_begin(TlsPrograms *programs)
{
    g_mutex_lock(&programs->lock);
    programs->round++;
    g_mutex_unlock(&programs->lock);
}

static gboolean is_of_earlier_round(void *pid, void *value, void *round)
{
    return ((const Process *)value)->round != *(const uint32_t *)round;
}

static void drop_earlier(Use *use, void *round)
{
    g_hash_table_foreach_remove(use->processes, is_of_earlier_round, round);
}

void tls_programs_end(TlsPrograms *programs)
{
    g_mutex_lock(&programs->lock);
    each_use(programs, drop_earlier, &programs->round);
    g_mutex_unlock(&programs->lock);
}

typedef struct Place {
    uint64_t netns_inode, file;
    pid_t pid;
} Place;

static void collect_places(Use *use, void *places)
{
    GHashTableIter iter;
    void *pid;
    g_hash_table_iter_init(&iter, use->processes);
    while (g_hash_table_iter_next(&iter, &pid, NULL)) {
        const Place place = {use->netns_inode, use->file->id, GPOINTER_TO_INT(pid)};
        g_array_append_val((GArray *)places, place);
    }
}

static void forget_idle(TlsPrograms *programs, GPtrArray *uses, uint64_t now_ns)
{
    for (guint i = uses->len; i > 0; i--) {
        Use *use = uses->pdata[i - 1];
        if (g_hash_table_size(use->processes) > 0) {
            use->idle_ns = 0;
        } else if (use->idle_ns == 0) {
            use->idle_ns = now_ns;
        } else if (now_ns - use->idle_ns >= TLS_PROGRAM_KEPT_NS) {
            g_ptr_array_remove_index(uses, i - 1);
        }
    }
}

static void forget_all_idle(TlsPrograms *programs, uint64_t now_ns)
{
    GHashTableIter iter;
    void *uses;
    g_hash_table_iter_init(&iter, programs->uses);
    while (g_hash_table_iter_next(&iter, NULL, &uses)) {
        forget_idle(programs, uses, now_ns);
    }
}

void tls_programs_tend(TlsPrograms *programs, uint64_t now_ns,
                       bool (*is_there)(uint64_t netns_inode, pid_t pid, void *userdata),
                       void *userdata)
{
    g_autoptr(GArray) places = g_array_new(FALSE, FALSE, sizeof(Place));
    g_mutex_lock(&programs->lock);
    each_use(programs, collect_places, places);
    g_mutex_unlock(&programs->lock);
    guint gone = 0;
    /* A process runs many files, and is asked for once. */
    g_autoptr(GHashTable) there = g_hash_table_new(NULL, NULL); /* pid -> its namespace */
    for (guint i = 0; i < places->len; i++) {
        const Place place = g_array_index(places, Place, i);
        gpointer pid = GINT_TO_POINTER(place.pid);
        gpointer inode = GSIZE_TO_POINTER((gsize)place.netns_inode);
        if (g_hash_table_lookup(there, pid) == inode) {
            continue;
        }
        if (is_there(place.netns_inode, place.pid, userdata)) {
            g_hash_table_insert(there, pid, inode);
        } else {
            g_array_index(places, Place, gone++) = place;
        }
    }
    g_mutex_lock(&programs->lock);
    for (guint i = 0; i < gone; i++) {
        const Place *place = &g_array_index(places, Place, i);
        const Use *use = find_use(programs, place->netns_inode, place->file);
        if (use) {
            g_hash_table_remove(use->processes, GINT_TO_POINTER(place->pid));
        }
    }
    forget_all_idle(programs, now_ns);
    g_mutex_unlock(&programs->lock);
}

void tls_programs_forget(TlsPrograms *programs, uint64_t netns_inode)
{
    g_mutex_lock(&programs->lock);
    if (netns_inode) {
        g_hash_table_remove(programs->uses, &netns_inode);
        g_hash_table_remove(programs->connections, &netns_inode);
    } else {
        g_hash_table_remove_all(programs->connections);
        g_hash_table_remove_all(programs->uses);
        forget_unused(programs);
    }
    g_mutex_unlock(&programs->lock);
}

/* ---- Connections -----------------------------------------------------------------------------*/

void tls_programs_set_connections(TlsPrograms *programs, uint64_t netns_inode, uint64_t seen,
                                  uint64_t with_secrets)
{
    const Connections now = {seen, with_secrets};
    g_mutex_lock(&programs->lock);
    Connections *known = g_hash_table_lookup(programs->connections, &netns_inode);
    if (known) {
        *known = now;
    } else {
        g_hash_table_insert(programs->connections, g_memdup2(&netns_inode, sizeof(netns_inode)),
                            g_memdup2(&now, sizeof(now)));
    }
    g_mutex_unlock(&programs->lock);
}

void tls_programs_connections(TlsPrograms *programs, uint64_t netns_inode, uint64_t *ret_seen,
                              uint64_t *ret_with_secrets)
{
    g_mutex_lock(&programs->lock);
    const Connections *known = g_hash_table_lookup(programs->connections, &netns_inode);
    *ret_seen = known ? known->seen : 0;
    *ret_with_secrets = known ? known->with_secrets : 0;
    g_mutex_unlock(&programs->lock);
}

/* ---- Asking ----------------------------------------------------------------------------------*/

uint64_t tls_programs_generation(const TlsPrograms *programs)
{
    TlsPrograms *locked = (TlsPrograms *)programs;
    g_mutex_lock(&locked->lock);
    uint64_t generation = programs->generation;
    g_mutex_unlock(&locked->lock);
    return generation;
}

static gint by_pid(gconstpointer a, gconstpointer b)
{
    const Process *x = *(const Process *const *)a, *y = *(const Process *const *)b;
    return (x->told.pid > y->told.pid) - (x->told.pid < y->told.pid);
}

static void describe(const Use *use, TlsProgram *ret)
{
    *ret = (TlsProgram){.path = use->file->path,
                        .library = use->file->library,
                        .reason = use->file->reason,
                        .state = use->file->state,
                        .processes = g_hash_table_size(use->processes),
                        .lines = use->lines,
                        .last_unix_ns = use->last_unix_ns};
    g_autoptr(GPtrArray) all = g_ptr_array_new();
    GHashTableIter iter;
    void *process;
    g_hash_table_iter_init(&iter, use->processes);
    while (g_hash_table_iter_next(&iter, NULL, &process)) {
        g_ptr_array_add(all, process);
    }
    g_ptr_array_sort(all, by_pid);
    ret->n_some = MIN(all->len, TLS_PROGRAM_SOME);
    for (guint i = 0; i < ret->n_some; i++) {
        ret->some[i] = ((const Process *)all->pdata[i])->told;
    }
}

static gint by_path(gconstpointer a, gconstpointer b)
{
    const Use *x = *(const Use *const *)a, *y = *(const Use *const *)b;
    return strcmp(x->file->path, y->file->path);
}

void tls_programs_list(TlsPrograms *programs, uint64_t netns_inode,
                       void (*callback)(const TlsProgram *program, void *userdata), void *userdata)
{
    g_mutex_lock(&programs->lock);
    GPtrArray *uses = uses_of(programs, netns_inode);
    if (uses) {
        g_ptr_array_sort(uses, by_path);
    }
    for (guint i = 0; uses && i < uses->len; i++) {
        TlsProgram program;
        describe(uses->pdata[i], &program);
        callback(&program, userdata);
    }
    g_mutex_unlock(&programs->lock);
}

static char *why_none(const File *file)
{
    return g_strdup_printf("%s is %s%s%s", file->library, tls_program_state_name(file->state),
                           *file->reason ? ": " : "", file->reason);
}

/* One library that is hooked is enough: which of them a connection uses is not known. */
char *tls_programs_why_none(TlsPrograms *programs, uint64_t netns_inode, pid_t pid)
{
    g_mutex_lock(&programs->lock);
    const GPtrArray *uses = uses_of(programs, netns_inode);
    const File *without = NULL;
    bool hooked = false;
    for (guint i = 0; uses && i < uses->len; i++) {
        const Use *use = uses->pdata[i];
        if (find_process(use, pid)) {
            hooked |= use->file->state == TLS_PROGRAM_HOOKED;
            without = use->file;
        }
    }
    char *text = without && !hooked ? why_none(without) : NULL;
    g_mutex_unlock(&programs->lock);
    return text;
}

const char *tls_program_state_name(TlsProgramState state)
{
    switch (state) {
    case TLS_PROGRAM_HOOKED:
        return "hooked";
    case TLS_PROGRAM_NOT_HOOKED:
        return "not hooked";
    case TLS_PROGRAM_FAILED:
        return "not hooked yet";
    case TLS_PROGRAM_WITHDRAWN:
        return "no longer hooked";
    case TLS_PROGRAM_CALIBRATING:
        return "being calibrated";
    }
    return "unknown";
}

/* ---- The object ------------------------------------------------------------------------------*/

static void uses_free(void *uses)
{
    g_ptr_array_unref(uses);
}

TlsPrograms *tls_programs_new(void)
{
    TlsPrograms *programs = g_new0(TlsPrograms, 1);
    g_mutex_init(&programs->lock);
    programs->connections = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    programs->files = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, file_free);
    programs->uses = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, uses_free);
    return programs;
}

TlsPrograms *tls_programs_free(TlsPrograms *programs)
{
    if (programs) {
        g_hash_table_unref(programs->connections);
        g_hash_table_unref(programs->uses);
        g_hash_table_unref(programs->files);
        g_mutex_clear(&programs->lock);
        g_free(programs);
    }
    return NULL;
}
