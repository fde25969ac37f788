// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/mapped-file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILE_MAX (INT64_C(1) << 30)

/* ---- One file ------------------------------------------------------------------------------- */

static _Thread_local sigjmp_buf *guard; /* set while this thread reads a mapped file */
static struct sigaction previous;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    if (guard) {
        siglongjmp(*guard, 1);
    }
    sigaction(SIGBUS, &previous, NULL); /* not ours: it happens again, and is handled as before */
}

static void set_handler(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGBUS, &action, &previous);
}

/* tls_find() allocates nothing and holds no locks, so that it may be left by a jump. */
static int find_guarded(const uint8_t *bytes, size_t length, TlsFile *ret)
{
    sigjmp_buf jump;
    int error = -EIO;
    if (sigsetjmp(jump, 0) == 0) {
        guard = &jump;
        error = tls_find(bytes, length, ret);
    }
    guard = NULL;
    return error;
}

int tls_find_in_file(int fd, TlsFile *ret)
{
    struct stat status;
    if (fstat(fd, &status) < 0) {
        return -errno;
    }
    if (!S_ISREG(status.st_mode) || status.st_size == 0) {
        return -ENOEXEC;
    }
    if (status.st_size > FILE_MAX) {
        return -EFBIG;
    }
    size_t length = (size_t)status.st_size;
    void *bytes = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        return -errno;
    }
    pthread_once(&once, set_handler);
    int error = find_guarded(bytes, length, ret);
    munmap(bytes, length);
    return error;
}

/* ---- A process ------------------------------------------------------------------------------ */

#define FILES_MAX      1024
#define OPEN_MAX_FILES 128 /* at the same time */

typedef struct Mapped {
    int fd; /* or -errno */
    off_t size;
    char *path;
} Mapped;

typedef struct Visit {
    TlsProcessVisit visit;
    void *context;
    struct {
        dev_t device;
        ino_t inode;
    } seen[FILES_MAX];
    unsigned n_seen;
    Mapped open[OPEN_MAX_FILES];
    unsigned n_open;
    bool over;
} Visit;

/* False: it was there already. */
static bool remember(Visit *visit, const struct stat *status)
{
    for (unsigned i = 0; i < visit->n_seen; i++) {
        if (visit->seen[i].device == status->st_dev && visit->seen[i].inode == status->st_ino) {
            return false;
        }
    }
    if (visit->n_seen == FILES_MAX) {
        return false;
    }
    visit->seen[visit->n_seen].device = status->st_dev;
    visit->seen[visit->n_seen++].inode = status->st_ino;
    return true;
}

/* What is mapped, also where another file has that name by now; else, without the right to do so,
 * what has that name in the process's own tree, and no other. */
static int find_mapped(pid_t pid, uint64_t begin, uint64_t end, const char *path)
{
    char name[64];
    snprintf(name, sizeof(name), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)pid, begin, end);
    int fd = open(name, O_PATH | O_CLOEXEC);
    if (fd >= 0 || (errno != EPERM && errno != EACCES)) {
        return fd < 0 ? -errno : fd;
    }
    snprintf(name, sizeof(name), "/proc/%d/root", (int)pid);
    int root = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) {
        return -errno;
    }
    struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT};
    fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
    int error = fd < 0 ? -errno : 0;
    close(root);
    return error ? error : fd;
}

/* Opened only once it is known to be a regular file, and without waiting for whoever has a lease on
 * it. */
static int open_mapped(pid_t pid, uint64_t begin, uint64_t end, const char *path,
                       struct stat *ret_status)
{
    int found = find_mapped(pid, begin, end, path);
    if (found < 0) {
        return found;
    }
    char name[32];
    snprintf(name, sizeof(name), "/proc/self/fd/%d", found);
    int fd = -ENOEXEC;
    if (fstat(found, ret_status) == 0 && S_ISREG(ret_status->st_mode)) {
        fd = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        fd = fd < 0 ? -errno : fd;
    }
    close(found);
    return fd;
}

static int by_size(const void *a, const void *b)
{
    const Mapped *x = a, *y = b;
    return (x->size > y->size) - (x->size < y->size);
}

/* The small ones first, which take no time: what is waited for is seldom the largest. */
static void visit_open(Visit *visit)
{
    qsort(visit->open, visit->n_open, sizeof(visit->open[0]), by_size);
    for (unsigned i = 0; i < visit->n_open; i++) {
        const Mapped *mapped = &visit->open[i];
        visit->over = visit->over || !visit->visit(visit->context, mapped->path, mapped->fd);
        if (mapped->fd >= 0) {
            close(mapped->fd);
        }
        free(mapped->path);
    }
    visit->n_open = 0;
}

static void take(Visit *visit, pid_t pid, uint64_t begin, uint64_t end, const char *path)
{
    struct stat status = {.st_size = 0};
    int fd = open_mapped(pid, begin, end, path, &status);
    if (fd >= 0 && !remember(visit, &status)) {
        close(fd);
        return;
    }
    char *copy = strdup(path);
    if (!copy) {
        abort();
    }
    visit->open[visit->n_open++] = (Mapped){fd, status.st_size, copy};
    if (visit->n_open == OPEN_MAX_FILES) {
        visit_open(visit);
    }
}

/* All are opened before the first is looked at: the process may end at any time. */
int tls_visit_process(pid_t pid, TlsProcessVisit callback, void *context)
{
    char name[64], line[PATH_MAX + 256], rights[8];
    snprintf(name, sizeof(name), "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(name, "re");
    if (!maps) {
        return -errno;
    }
    Visit visit = {.visit = callback, .context = context};
    while (!visit.over && fgets(line, sizeof(line), maps)) {
        int at = 0;
        uint64_t begin, end;
        line[strcspn(line, "\n")] = '\0';
        if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %7s %*s %*s %*s %n", &begin, &end, rights, &at) ==
                3 &&
            at > 0 && strchr(rights, 'x') && line[at] == '/') {
            take(&visit, pid, begin, end, line + at);
        }
    }
    int error = ferror(maps) ? -errno : 0;
    fclose(maps);
    visit_open(&visit);
    return error;
}
