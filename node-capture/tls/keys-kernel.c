// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/keys-kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/clock.h"
#include "node-capture/tls/keys-kernel-private.h"
#include "node-capture/tls/listening.h"

#define SWEEP_NS          (300u * 1000000000ull)
#define TEND_NS           (5u * 1000000000ull)
#define PLAINTEXT_POLL_MS 10 /* its program wakes nobody for little */
/* After secrets were told, further ones are gathered for so long: many connections wake us, and
 * those behind us, once. Those of a quiet time are told at once. */
#define GATHER_NS  (5u * 1000000ull)
#define FD_EVENTS  5
#define PLAINTEXTS (TLS_TAKE_PLAINTEXT_REST | TLS_TAKE_PLAINTEXT_EVERY)
#define WRONG \
    "its client randoms were never seen on the wire; the secrets that it gave are doubtful"

static const char subject_keys[] = TLS_KEYS_SUBJECT, subject_plaintext[] = "TLS plaintext";

static Kernel *kernel(TlsKeys *keys)
{
    return (Kernel *)keys;
}

/* ---- Secrets ---------------------------------------------------------------------------------*/

static void on_secret(void *userdata, const TlsSecret *secret)
{
    Kernel *self = userdata;
    uint64_t time_ns = clock_unix_ns() - (clock_monotonic_ns() - secret->time_ns);
    uint64_t file = hooked_files_gave(self->files, secret->hook);
    wire_randoms_line(self->randoms, secret->netns_inode, time_ns, secret->hook, secret->random);
    self->gather_ns = clock_monotonic_ns() + GATHER_NS;
    if (key_lines_add(self->lines, secret->netns_inode, time_ns, secret->label,
                      secret->label_length, secret->random, secret->secret,
                      secret->secret_length)) {
        tls_programs_gave(self->keys.programs, secret->netns_inode, file, time_ns);
    }
}

static void on_lines(uint64_t netns_inode, uint64_t time_ns, const char *lines, size_t length,
                     void *userdata)
{
    Kernel *self = userdata;
    self->callbacks->secrets(netns_inode, time_ns, lines, length, self->userdata);
}

static void on_plaintext(void *userdata, const TlsPlaintext *plaintext)
{
    Kernel *self = userdata;
    wire_sockets_add(self->sockets, plaintext, clock_monotonic_ns());
}

static void on_plaintext_with_socket(void *userdata, const TlsPlaintext *plaintext)
{
    Kernel *self = userdata;
    self->callbacks->plaintext(plaintext, self->userdata);
}

bool keys_kernel_is_interrupted(Kernel *self)
{
    g_mutex_lock(&self->lock);
    bool interrupted = self->stop || self->wanted;
    g_mutex_unlock(&self->lock);
    return interrupted;
}

void keys_kernel_tell_taken(void *data)
{
    Kernel *self = data;
    tls_hooks_dispatch(self->hooks);
    key_lines_flush(self->lines);
    if (self->plaintext) {
        plaintext_hooks_dispatch(self->plaintext);
    }
}

static void tell_programs(Kernel *self)
{
    uint64_t generation = tls_programs_generation(self->keys.programs);
    if (generation != self->generation && self->callbacks->programs) {
        self->callbacks->programs(self->userdata);
    }
    self->generation = generation;
}

/* ---- What is wanted --------------------------------------------------------------------------*/

static void tell_problem(Kernel *self, const char *subject, const char *message)
{
    bool *told = subject == subject_keys ? &self->told : &self->told_plaintext;
    if (message || *told) {
        self->callbacks->problem(subject, message, self->userdata);
    }
    *told = message != NULL;
}

/* A program that could not be loaded. */
static void tell_not_loaded(Kernel *self, const char *subject, int error, const char *message)
{
    g_autofree char *text = g_strdup_printf(
        "%s%s", message,
        error == -EACCES || error == -EPERM ? " (CAP_BPF and CAP_PERFMON are missing)" : "");
    tell_problem(self, subject, text);
}

/* Under the lock. */
static void add_plaintext_counters(const Kernel *self, TlsKeysStats *stats)
{
    PlaintextCounters counters = {0};
    if (self->counted_plaintext) {
        plaintext_hooks_counters(self->counted_plaintext, &counters);
    }
    stats->plaintext_taken += counters.taken;
    stats->plaintext_lost += counters.lost;
    stats->plaintext_passed += counters.passed;
    stats->plaintext_unreadable += counters.unreadable;
}

static void count_plaintext_from(Kernel *self, PlaintextHooks *hooks)
{
    g_mutex_lock(&self->lock);
    add_plaintext_counters(self, &self->stats);
    self->counted_plaintext = hooks;
    g_mutex_unlock(&self->lock);
}

static void unload_plaintext(Kernel *self)
{
    if (self->plaintext) {
        count_plaintext_from(self, NULL);
        self->plaintext = plaintext_hooks_free(self->plaintext);
        hooked_files_set_plaintext(self->files, NULL);
    }
}

static void load_plaintext(Kernel *self)
{
    g_autofree char *message = NULL;
    int error = plaintext_hooks_new(self->hooks, on_plaintext, self, &self->plaintext, &message);
    if (error) {
        tell_not_loaded(self, subject_plaintext, error, message);
        return;
    }
    tell_problem(self, subject_plaintext, NULL);
    count_plaintext_from(self, self->plaintext);
    hooked_files_set_plaintext(self->files, self->plaintext);
}

static void count_from(Kernel *self, TlsHooks *hooks)
{
    g_mutex_lock(&self->lock);
    if (self->counted) {
        TlsHooksCounters counters;
        tls_hooks_counters(self->counted, &counters);
        self->stats.taken += counters.taken;
        self->stats.lost += counters.lost;
        self->stats.passed += counters.passed;
        self->stats.unreadable += counters.unreadable;
    }
    self->counted = hooks;
    self->stats.hooked_files = 0;
    g_mutex_unlock(&self->lock);
}

static void unload(Kernel *self)
{
    unload_plaintext(self);
    count_from(self, NULL);
    tls_programs_forget(self->keys.programs, 0);
    self->files = hooked_files_free(self->files);
    self->mappings = mappings_free(self->mappings);
    self->lines = key_lines_free(self->lines);
    self->randoms = wire_randoms_free(self->randoms);
    self->sockets = wire_sockets_free(self->sockets);
    tls_hooks_free(g_steal_pointer(&self->hooks));
    g_hash_table_remove_all(self->settled);
    g_hash_table_remove_all(self->namespaces);
}

static const WireSocketsCallbacks socket_callbacks = {on_plaintext_with_socket, tls_is_listening};

static void load(Kernel *self)
{
    g_autofree char *message = NULL;
    /* Secrets pass through this process's memory from now on. */
    prctl(PR_SET_DUMPABLE, 0);
    int error = tls_hooks_new(on_secret, self, &self->hooks, &message);
    if (error) {
        tell_not_loaded(self, subject_keys, error, message);
        return;
    }
    error = mappings_new(keys_kernel_on_mapping, self, &self->mappings);
    if (error) {
        g_autofree char *text =
            g_strdup_printf("programs that start are not noticed: %s%s", g_strerror(-error),
                            error == -EACCES || error == -EPERM ? " (CAP_PERFMON is missing)" : "");
        tell_problem(self, subject_keys, text);
    } else {
        tell_problem(self, subject_keys, NULL);
    }
    count_from(self, self->hooks);
    self->files = hooked_files_new(self->hooks, self->keys.programs, self->chains);
    hooked_files_set_meanwhile(
        self->files, &(TlsMeanwhile){tls_hooks_fd(self->hooks), keys_kernel_tell_taken, self});
    self->lines = key_lines_new(on_lines, self);
    self->randoms = wire_randoms_new();
    self->sockets = wire_sockets_new(&socket_callbacks, self);
    self->unknown = 0;
    self->sweep_ns = clock_monotonic_ns() + SWEEP_NS;
    self->tend_ns = clock_monotonic_ns() + TEND_NS;
}

/* Whether it is what is taken already. */
static unsigned taken_of(const Kernel *self, uint64_t inode)
{
    const TlsWanted *taken = g_hash_table_lookup(self->namespaces, &inode);
    return taken ? taken->take : 0;
}

static bool is_taken(const Kernel *self, const TlsWanted *wanted)
{
    const TlsWanted *taken = g_hash_table_lookup(self->namespaces, &wanted->netns_inode);
    return taken && taken->take == wanted->take && taken->rest_since_ns == wanted->rest_since_ns;
}

/* 0, or -errno. */
static int take(Kernel *self, const TlsWanted *wanted)
{
    int error = 0;
    if (wanted->take & TLS_TAKE_KEYS) {
        error = tls_hooks_add_netns(self->hooks, wanted->netns_inode);
    } else {
        tls_hooks_remove_netns(self->hooks, wanted->netns_inode);
    }
    if (self->plaintext && !error) {
        error = plaintext_hooks_set_netns(self->plaintext, wanted);
    }
    return error;
}

static bool add_namespaces(Kernel *self, const GArray *wanted)
{
    bool any = false;
    for (guint i = 0; i < wanted->len; i++) {
        const TlsWanted *one = &g_array_index(wanted, TlsWanted, i);
        if (!is_taken(self, one) && take(self, one) == 0) {
            g_hash_table_add(self->namespaces, g_memdup2(one, sizeof(*one)));
            any = true;
        }
    }
    return any;
}

static bool is_among(const GArray *wanted, uint64_t inode)
{
    for (guint i = 0; i < wanted->len; i++) {
        if (g_array_index(wanted, TlsWanted, i).netns_inode == inode) {
            return true;
        }
    }
    return false;
}

static bool remove_namespaces(Kernel *self, const GArray *wanted)
{
    bool any = false;
    GHashTableIter iter;
    void *key;
    g_hash_table_iter_init(&iter, self->namespaces);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        uint64_t inode = *(const uint64_t *)key;
        if (!is_among(wanted, inode)) {
            take(self, &(TlsWanted){.netns_inode = inode});
            tls_programs_forget(self->keys.programs, inode);
            wire_randoms_forget(self->randoms, inode);
            g_hash_table_iter_remove(&iter);
            any = true;
        }
    }
    return any;
}

/* Hooks stay in what processes of the namespaces run now. */
static void sweep(Kernel *self)
{
    self->sweep_ns = clock_monotonic_ns() + SWEEP_NS;
    g_hash_table_remove_all(self->settled);
    tls_programs_begin(self->keys.programs);
    keys_kernel_look_at_all(self);
    if (!keys_kernel_is_interrupted(self)) {
        tls_programs_end(self->keys.programs);
        hooked_files_sweep(self->files);
    } else {
        self->sweep_ns = 0; /* again, when that is done */
    }
}

static bool is_plaintext_wanted(const GArray *wanted)
{
    for (guint i = 0; i < wanted->len; i++) {
        if (g_array_index(wanted, TlsWanted, i).take & PLAINTEXTS) {
            return true;
        }
    }
    return false;
}

/* True if its hooks are to be set. What is taken of namespaces was not told to a program that comes
 * now. */
static bool obey_plaintext(Kernel *self, const GArray *wanted)
{
    if (!is_plaintext_wanted(wanted)) {
        unload_plaintext(self);
    } else if (!self->plaintext) {
        load_plaintext(self);
        GHashTableIter iter;
        void *taken;
        g_hash_table_iter_init(&iter, self->namespaces);
        while (self->plaintext && g_hash_table_iter_next(&iter, &taken, NULL)) {
            plaintext_hooks_set_netns(self->plaintext, taken);
        }
        return self->plaintext;
    }
    return false;
}

/* A namespace whose secrets are not taken has none that could be missed. */
static void on_hello(const TlsSeenHello *hello, void *userdata)
{
    Kernel *self = userdata;
    unsigned taken = taken_of(self, hello->netns_inode);
    if (taken & TLS_TAKE_KEYS && hello->has_random) {
        wire_randoms_saw(self->randoms, hello->netns_inode, hello->time_unix_ns, hello->random,
                         hello->may_be_outer);
    } else if (taken & TLS_TAKE_KEYS || hello->netns_inode == WIRE_RANDOMS_ALL) {
        wire_randoms_hidden(self->randoms, hello->netns_inode, hello->time_unix_ns);
    }
    if (taken) {
        wire_sockets_saw(self->sockets, hello);
    }
}

static void judge_hooks(Kernel *self)
{
    uint64_t hook;
    while (wire_randoms_judge(self->randoms, clock_unix_ns(), &hook)) {
        if (hooked_files_withdraw(self->files, hook, WRONG)) {
            g_mutex_lock(&self->lock);
            self->stats.withdrawn++;
            g_mutex_unlock(&self->lock);
        }
    }
}

static void count_connections(Kernel *self)
{
    GHashTableIter iter;
    void *key;
    g_hash_table_iter_init(&iter, self->namespaces);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        uint64_t inode = *(const uint64_t *)key, seen, with_secrets;
        wire_randoms_count(self->randoms, inode, &seen, &with_secrets);
        tls_programs_set_connections(self->keys.programs, inode, seen, with_secrets);
    }
}

/* What people are told. */
static void tend(Kernel *self)
{
    judge_hooks(self);
    count_connections(self);
    self->tend_ns = clock_monotonic_ns() + TEND_NS;
    tls_programs_tend(self->keys.programs, clock_monotonic_ns(), keys_kernel_is_there, self);
}

static void obey(Kernel *self, const GArray *wanted)
{
    if (wanted->len == 0) {
        unload(self);
        return;
    }
    if (!self->hooks) {
        load(self);
    }
    if (!self->hooks) {
        return;
    }
    bool loaded = obey_plaintext(self, wanted);
    bool removed = remove_namespaces(self, wanted), added = add_namespaces(self, wanted);
    if (removed) {
        hooked_files_forget_use(self->files);
        sweep(self);
    } else if (added || loaded || self->unfinished) {
        /* What was mapped outside of the namespaces so far may now be inside. */
        g_hash_table_remove_all(self->settled);
        keys_kernel_look_at_all(self);
    }
}

/* ---- The thread ------------------------------------------------------------------------------*/

static bool take_wanted(Kernel *self, GArray **ret)
{
    eventfd_t ignored;
    eventfd_read(self->wake_fd, &ignored);
    g_mutex_lock(&self->lock);
    *ret = g_steal_pointer(&self->wanted);
    bool stop = self->stop;
    g_mutex_unlock(&self->lock);
    return !stop;
}

static void wait_for_something(const Kernel *self)
{
    GPollFD polled[FD_EVENTS] = {{self->wake_fd, G_IO_IN, 0}};
    guint count = 1;
    int timeout_ms = -1;
    if (self->hooks) {
        uint64_t now_ns = clock_monotonic_ns();
        uint64_t due_ns = MIN(self->sweep_ns, self->tend_ns);
        if (now_ns >= self->gather_ns) {
            polled[count++] = (GPollFD){tls_hooks_fd(self->hooks), G_IO_IN, 0};
        } else {
            due_ns = MIN(due_ns, self->gather_ns);
        }
        polled[count++] = (GPollFD){hooked_files_fd(self->files), G_IO_IN, 0};
        timeout_ms = due_ns > now_ns ? (int)((due_ns - now_ns) / 1000000u) + 1 : 0;
        timeout_ms = self->plaintext ? MIN(timeout_ms, PLAINTEXT_POLL_MS) : timeout_ms;
        if (hooked_files_are_calibrated(self->files)) {
            timeout_ms = MIN(timeout_ms, CALIBRATION_POLL_MS);
        }
    }
    if (self->plaintext) {
        polled[count++] = (GPollFD){plaintext_hooks_fd(self->plaintext), G_IO_IN, 0};
    }
    if (self->mappings) {
        polled[count++] = (GPollFD){mappings_fd(self->mappings), G_IO_IN, 0};
    }
    g_poll(polled, count, timeout_ms);
}

static void dispatch_mappings(Kernel *self)
{
    uint64_t lost = mappings_dispatch(self->mappings);
    if (lost > 0) {
        g_mutex_lock(&self->lock);
        self->stats.mappings_lost += lost;
        g_mutex_unlock(&self->lock);
        keys_kernel_look_at_all(self);
    }
}

/* Files get their hooks by those who use them. */
static void calibrate(Kernel *self)
{
    if (hooked_files_are_calibrated(self->files) &&
        hooked_files_calibrate(self->files, self->randoms)) {
        g_hash_table_remove_all(self->settled);
        keys_kernel_look_at_all(self);
    }
}

static void do_what_is_due(Kernel *self)
{
    /* Ahead of what was mapped since. */
    if (self->hooks && hooked_files_dispatch(self->files)) {
        g_hash_table_remove_all(self->settled);
    }
    if (self->mappings) {
        dispatch_mappings(self);
    }
    if (!self->hooks) {
        return;
    }
    keys_kernel_tell_taken(self);
    seen_randoms_take(self->seen, on_hello, self);
    wire_sockets_run(self->sockets, clock_monotonic_ns());
    calibrate(self);
    if (clock_monotonic_ns() >= self->sweep_ns) {
        sweep(self);
    }
    if (clock_monotonic_ns() >= self->tend_ns) {
        tend(self);
    }
    g_mutex_lock(&self->lock);
    self->stats.hooked_files = hooked_files_count(self->files);
    self->stats.plaintext_unknown += wire_sockets_unknown(self->sockets) - self->unknown;
    g_mutex_unlock(&self->lock);
    self->unknown = wire_sockets_unknown(self->sockets);
    tell_programs(self);
}

static void *run(void *data)
{
    Kernel *self = data;
    GArray *wanted;
    while (take_wanted(self, &wanted)) {
        if (wanted) {
            obey(self, wanted);
            g_array_unref(wanted);
        }
        do_what_is_due(self);
        wait_for_something(self);
    }
    if (wanted) {
        g_array_unref(wanted);
    }
    unload(self);
    return NULL;
}

static void wake(const Kernel *self)
{
    eventfd_write(self->wake_fd, 1);
}

static void kernel_follow(TlsKeys *keys, const TlsWanted *wanted, size_t count)
{
    Kernel *self = kernel(keys);
    GArray *all = g_array_new(FALSE, FALSE, sizeof(TlsWanted));
    g_array_append_vals(all, wanted, (guint)count);
    g_mutex_lock(&self->lock);
    g_clear_pointer(&self->wanted, g_array_unref);
    self->wanted = all;
    g_mutex_unlock(&self->lock);
    wake(self);
}

static void kernel_saw_hello(TlsKeys *keys, const TlsSeenHello *hello)
{
    seen_randoms_add(kernel(keys)->seen, hello);
}

static void kernel_stats(TlsKeys *keys, TlsKeysStats *ret)
{
    Kernel *self = kernel(keys);
    TlsHooksCounters counters = {0};
    g_mutex_lock(&self->lock);
    *ret = self->stats;
    if (self->counted) {
        tls_hooks_counters(self->counted, &counters);
    }
    add_plaintext_counters(self, ret);
    g_mutex_unlock(&self->lock);
    ret->taken += counters.taken;
    ret->lost += counters.lost;
    ret->passed += counters.passed;
    ret->unreadable += counters.unreadable;
}

static void kernel_free(TlsKeys *keys)
{
    Kernel *self = kernel(keys);
    g_mutex_lock(&self->lock);
    self->stop = true;
    g_mutex_unlock(&self->lock);
    wake(self);
    g_thread_join(self->thread);
    g_hash_table_unref(self->namespaces);
    g_hash_table_unref(self->settled);
    seen_randoms_free(self->seen);
    tls_programs_free(self->keys.programs);
    known_chains_free(self->chains);
    g_mutex_clear(&self->lock);
    close(self->wake_fd);
    close(self->proc_fd);
    g_free(self);
}

static const TlsKeysOps kernel_ops = {"kernel", kernel_free, kernel_follow, kernel_saw_hello,
                                      kernel_stats};

TlsKeys *tls_keys_kernel_new(const TlsKeysCallbacks *callbacks, void *userdata)
{
    Kernel *self = g_new0(Kernel, 1);
    self->keys.ops = &kernel_ops;
    self->keys.programs = tls_programs_new();
    self->chains = known_chains_new();
    self->seen = seen_randoms_new();
    self->callbacks = callbacks;
    self->userdata = userdata;
    self->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    self->proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    self->namespaces = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    self->settled = keys_kernel_settled_new();
    g_mutex_init(&self->lock);
    self->thread = g_thread_new("tls", run, self);
    return &self->keys;
}
