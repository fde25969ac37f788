// SPDX-License-Identifier: GPL-2.0-or-later
/* A file that changes under the finder, and what else is no program. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "node-capture/tls/mapped-file.h"
#include "tests/node-capture/tls/made-elf.h"

#define FILE_BYTES    (16 << 20)
#define DEADLINE_SECS 60

static int made_file(void)
{
    uint8_t elf[MADE_ELF_BYTES];
    made_elf(elf);
    int fd = memfd_create("made", MFD_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    /* The segment is the whole of it, so that all is looked at. */
    made_elf_put(elf + MADE_ELF_HEADERS + 32, FILE_BYTES, 8);
    g_assert_cmpint(pwrite(fd, elf, sizeof(elf), 0), ==, sizeof(elf));
    g_assert_cmpint(ftruncate(fd, FILE_BYTES), ==, 0);
    return fd;
}

static void test_whole(void)
{
    TlsFile file;
    int fd = made_file();
    g_assert_cmpint(tls_find_in_file(fd, &file), ==, 0);
    g_assert_cmpint(file.implementations[0].verdict, ==, TLS_HOOKED);
    close(fd);
}

static atomic_bool ends;

static gpointer cut_again_and_again(gpointer data)
{
    int fd = GPOINTER_TO_INT(data);
    while (!atomic_load(&ends)) {
        g_assert_cmpint(ftruncate(fd, MADE_ELF_BYTES), ==, 0);
        g_assert_cmpint(ftruncate(fd, FILE_BYTES), ==, 0);
    }
    return NULL;
}

/* Until that has been seen: then the answer is an error, and the next file is found as ever. */
static void test_cut_short(void)
{
    TlsFile file;
    int fd = made_file(), error = 0;
    gint64 deadline = g_get_monotonic_time() + DEADLINE_SECS * G_USEC_PER_SEC;
    GThread *thread = g_thread_new("cut", cut_again_and_again, GINT_TO_POINTER(fd));
    while (error != -EIO && g_get_monotonic_time() < deadline) {
        error = tls_find_in_file(fd, &file);
    }
    atomic_store(&ends, true);
    g_thread_join(thread);
    close(fd);
    g_assert_cmpint(error, ==, -EIO);
    test_whole();
}

/* A bus error elsewhere still kills, as it did before. */
static void test_other_bus_error(void)
{
    pid_t child = fork();
    if (child == 0) {
        test_whole();
        signal(SIGALRM, SIG_DFL);
        alarm(DEADLINE_SECS);
        int fd = memfd_create("empty", 0);
        volatile char *byte = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
        _exit(*byte);
    }
    int status;
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_true(WIFSIGNALED(status));
    g_assert_cmpint(WTERMSIG(status), ==, SIGBUS);
}

static void test_no_files(void)
{
    TlsFile file;
    int fds[2];
    int folder = open("/", O_RDONLY | O_CLOEXEC), empty = memfd_create("empty", MFD_CLOEXEC);
    g_assert_cmpint(pipe(fds), ==, 0);
    g_assert_cmpint(tls_find_in_file(folder, &file), ==, -ENOEXEC);
    g_assert_cmpint(tls_find_in_file(empty, &file), ==, -ENOEXEC);
    g_assert_cmpint(tls_find_in_file(fds[0], &file), ==, -ENOEXEC);
    g_assert_cmpint(ftruncate(empty, INT64_C(5) << 30), ==, 0);
    g_assert_cmpint(tls_find_in_file(empty, &file), ==, -EFBIG);
    close(fds[0]);
    close(fds[1]);
    close(folder);
    close(empty);
}

typedef struct Visits {
    unsigned count;
    bool stops;
} Visits;

static bool count_visit(void *context, const char *path, int fd)
{
    Visits *visits = context;
    visits->count++;
    g_assert_cmpint(*path, ==, '/');
    g_assert_cmpint(fd, >=, 0);
    return !visits->stops;
}

static void test_process(void)
{
    Visits all = {0}, first = {.stops = true};
    g_assert_cmpint(tls_visit_process(getpid(), count_visit, &all), ==, 0);
    g_assert_cmpuint(all.count, >=, 3); /* this program, libc, glib */
    g_assert_cmpint(tls_visit_process(getpid(), count_visit, &first), ==, 0);
    g_assert_cmpuint(first.count, ==, 1);
    pid_t child = fork();
    if (child == 0) {
        _exit(0);
    }
    g_assert_cmpint(waitpid(child, NULL, 0), ==, child);
    g_assert_cmpint(tls_visit_process(child, count_visit, &all), ==, -ENOENT);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/tls/mapped-file/whole", test_whole);
    g_test_add_func("/tls/mapped-file/cut-short", test_cut_short);
    g_test_add_func("/tls/mapped-file/no-files", test_no_files);
    g_test_add_func("/tls/mapped-file/process", test_process);
    /* With sanitizers SIGBUS is theirs, and what they do is exit. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    g_test_add_func("/tls/mapped-file/other-bus-error", test_other_bus_error);
#else
    (void)test_other_bus_error;
#endif
    return g_test_run();
}
