// SPDX-License-Identifier: GPL-2.0-or-later
/* Which processes of the wanted namespaces run what: all at first, then each as it maps a file. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "node-capture/targets/proc-process.h"
#include "node-capture/tls/keys-kernel-private.h"
#include "node-capture/tls/mapped-file.h"

#define SETTLED_MAX 65536u

/* A process that is looked at. */
typedef struct Visited {
    pid_t pid;
    uint64_t netns_inode;
    struct stat program; /* st_ino 0: not known */
    const char *sought;  /* the path of what it has just mapped, or NULL */
    bool found;          /* that file was looked at */
    uint64_t file;       /* and this is its number, see hooked_files_use() */
} Visited;

/* The namespace of the process, if it is one of those. */
static bool is_wanted(const Kernel *self, pid_t pid, uint64_t *ret_netns)
{
    ino_t inode;
    if (proc_process_netns_inode(self->proc_fd, pid, &inode) < 0) {
        return false;
    }
    *ret_netns = inode;
    return g_hash_table_contains(self->namespaces, ret_netns);
}

bool keys_kernel_is_there(uint64_t netns_inode, pid_t pid, void *userdata)
{
    ino_t inode;
    return proc_process_netns_inode(((Kernel *)userdata)->proc_fd, pid, &inode) == 0 &&
           inode == netns_inode;
}

/* It runs the file with that number. One that has ended by now may have no name. */
static void note_process(Kernel *self, uint64_t netns_inode, pid_t pid, uint64_t file)
{
    if (tls_programs_has(self->keys.programs, netns_inode, file, pid)) {
        return;
    }
    TlsProcess process = {.pid = pid};
    CgroupPod pod;
    proc_process_name(self->proc_fd, pid, process.name, sizeof(process.name));
    if (proc_process_pod(self->proc_fd, pid, NULL, &pod) == 0) {
        g_strlcpy(process.container, pod.container, sizeof(process.container));
    }
    tls_programs_use(self->keys.programs, netns_inode, file, &process);
}

typedef struct Visit {
    Kernel *self;
    Visited *process;
} Visit;

static bool is_program(const Visited *process, int fd)
{
    struct stat status;
    return process->program.st_ino && fstat(fd, &status) == 0 &&
           status.st_ino == process->program.st_ino && status.st_dev == process->program.st_dev;
}

static bool on_mapped_file(void *userdata, const char *path, int fd)
{
    const Visit *visit = userdata;
    Kernel *self = visit->self;
    Visited *process = visit->process;
    if (fd >= 0) {
        uint64_t file = hooked_files_use(self->files, path, fd, is_program(process, fd));
        if (process->sought && strcmp(path, process->sought) == 0) {
            process->found = true;
            process->file = file;
        }
        if (file) {
            note_process(self, process->netns_inode, process->pid, file);
        }
    }
    keys_kernel_tell_taken(self);
    return !keys_kernel_is_interrupted(self);
}

static void look_at(Kernel *self, Visited *process)
{
    char name[48];
    snprintf(name, sizeof(name), "%d/exe", (int)process->pid);
    if (fstatat(self->proc_fd, name, &process->program, 0) < 0) {
        process->program.st_ino = 0;
    }
    Visit visit = {self, process};
    tls_visit_process(process->pid, on_mapped_file, &visit);
}

void keys_kernel_look_at_all(Kernel *self)
{
    DIR *folder = opendir("/proc");
    self->unfinished = false;
    for (struct dirent *entry;
         folder && !keys_kernel_is_interrupted(self) && (entry = readdir(folder));) {
        Visited process = {.pid = (pid_t)atoi(entry->d_name)};
        if (process.pid > 0 && is_wanted(self, process.pid, &process.netns_inode)) {
            look_at(self, &process);
        }
    }
    if (folder) {
        closedir(folder);
    }
    self->unfinished = keys_kernel_is_interrupted(self);
}

static guint id_hash(gconstpointer key)
{
    const MappedId *id = key;
    return (guint)id->inode * 31 + (id->major << 20) + id->minor;
}

static gboolean id_equal(gconstpointer a, gconstpointer b)
{
    const MappedId *x = a, *y = b;
    return x->major == y->major && x->minor == y->minor && x->inode == y->inode &&
           x->generation == y->generation;
}

GHashTable *keys_kernel_settled_new(void)
{
    return g_hash_table_new_full(id_hash, id_equal, g_free, g_free);
}

static void settle(Kernel *self, const MappedId *id, uint64_t file)
{
    if (g_hash_table_size(self->settled) >= SETTLED_MAX) {
        g_hash_table_remove_all(self->settled);
    }
    g_hash_table_insert(self->settled, g_memdup2(id, sizeof(*id)), g_memdup2(&file, sizeof(file)));
}

void keys_kernel_on_mapping(pid_t pid, const MappedId *id, const char *path, void *userdata)
{
    Kernel *self = userdata;
    Visited process = {.pid = pid, .sought = path};
    const uint64_t *settled = g_hash_table_lookup(self->settled, id);
    if (keys_kernel_is_interrupted(self)) { /* all are looked at afterwards */
        self->unfinished = true;
        return;
    }
    if ((settled && *settled == 0) || !is_wanted(self, pid, &process.netns_inode)) {
        return;
    }
    if (settled && tls_programs_knows(self->keys.programs, *settled)) {
        note_process(self, process.netns_inode, pid, *settled);
        return;
    }
    look_at(self, &process);
    if (process.found) { /* else it has ended before */
        settle(self, id, process.file);
    }
}
