// SPDX-License-Identifier: GPL-2.0-or-later
/* Hooks the files that are named and prints a key log, until its standard input ends; then the
 * counters, as a comment. A byte that it reads takes all hooks off.
 *
 * usage: tls-key-log -n NAMESPACE... FILE...
 * -n: inode of a network namespace whose processes are meant */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node-capture/tls/hooks.h"
#include "node-capture/tls/mapped-file.h"

static void print_hex(const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        printf("%02x", bytes[i]);
    }
}

static void print_secret(void *userdata, const TlsSecret *secret)
{
    printf("%s ", secret->label);
    print_hex(secret->random, 32);
    putchar(' ');
    print_hex(secret->secret, secret->secret_length);
    printf(" # %u\n", secret->pid);
}

static uint64_t attached[16];
static unsigned n_attached;

/* Twice, as two paths to a file lead here twice: the second time must be told. */
static int attach(TlsHooks *hooks, const char *path)
{
    TlsFile file;
    uint64_t hook, again = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int error = fd < 0 ? -errno : tls_find_in_file(fd, &file);
    if (!error) {
        error = file.n_implementations
                    ? tls_hooks_attach(hooks, fd, file.arch, &file.implementations[0], &hook)
                    : -ENOENT;
    }
    if (!error &&
        (tls_hooks_attach(hooks, fd, file.arch, &file.implementations[0], &again) != -EEXIST ||
         again != hook)) {
        error = -EPROTO;
    }
    if (!error && n_attached < sizeof(attached) / sizeof(*attached)) {
        attached[n_attached++] = hook;
    }
    if (fd >= 0) {
        close(fd);
    }
    if (error) {
        fprintf(stderr, "%s: %s\n", path, strerror(-error));
    }
    return error;
}

static void detach_all(TlsHooks *hooks)
{
    bool ok = true;
    for (unsigned i = 0; i < n_attached; i++) {
        ok = ok && tls_hooks_detach(hooks, attached[i]) == 0 &&
             tls_hooks_detach(hooks, attached[i]) == -ENOENT;
    }
    puts(ok ? "# detached" : "# not detached");
}

static void serve(TlsHooks *hooks)
{
    struct pollfd fds[] = {{.fd = tls_hooks_fd(hooks), .events = POLLIN},
                           {.fd = 0, .events = POLLIN}};
    char byte;
    puts("# ready");
    fflush(stdout);
    for (;;) {
        poll(fds, 2, -1);
        tls_hooks_dispatch(hooks);
        if (fds[1].revents && read(0, &byte, 1) <= 0) {
            break;
        }
        if (fds[1].revents) {
            detach_all(hooks);
        }
        fflush(stdout);
    }
    tls_hooks_dispatch(hooks);
}

int main(int argc, char **argv)
{
    TlsHooks *hooks;
    char *message = NULL;
    int option, error = tls_hooks_new(print_secret, NULL, &hooks, &message);
    if (error) {
        fprintf(stderr, "%s\n", message);
        free(message);
        return 1;
    }
    while ((option = getopt(argc, argv, "n:")) == 'n') {
        error = error ? error : tls_hooks_add_netns(hooks, strtoull(optarg, NULL, 10));
    }
    for (int i = optind; i < argc && !error; i++) {
        error = attach(hooks, argv[i]);
    }
    if (!error) {
        TlsHooksCounters counters;
        serve(hooks);
        tls_hooks_counters(hooks, &counters);
        printf("# taken %" PRIu64 " lost %" PRIu64 " passed %" PRIu64 " unreadable %" PRIu64 "\n",
               counters.taken, counters.lost, counters.passed, counters.unreadable);
    }
    tls_hooks_free(hooks);
    return error ? 1 : 0;
}
