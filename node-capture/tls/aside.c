// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/aside.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <glib.h>

#include "node-capture/tls/mapped-file.h"

#define MEANWHILE_MS 20 /* there may be something to do that the descriptor does not tell */

typedef struct Search {
    int fd, done_fd, result;
    TlsFile *found;
} Search;

static void *search(void *data)
{
    Search *self = data;
    self->result = tls_find_in_file(self->fd, self->found);
    eventfd_write(self->done_fd, 1);
    return NULL;
}

int tls_find_aside(int fd, TlsFile *ret, const TlsMeanwhile *meanwhile)
{
    Search self = {.fd = fd, .done_fd = eventfd(0, EFD_CLOEXEC), .found = ret};
    GThread *thread = self.done_fd >= 0 ? g_thread_try_new("tls-find", search, &self, NULL) : NULL;
    if (!thread) { /* no room for another: then the others wait */
        if (self.done_fd >= 0) {
            close(self.done_fd);
        }
        return tls_find_in_file(fd, ret);
    }
    GPollFD polled[] = {{self.done_fd, G_IO_IN, 0}, {meanwhile->fd, G_IO_IN, 0}};
    while (!polled[0].revents) {
        g_poll(polled, G_N_ELEMENTS(polled), MEANWHILE_MS);
        meanwhile->call(meanwhile->userdata);
    }
    g_thread_join(thread);
    close(self.done_fd);
    return self.result;
}
