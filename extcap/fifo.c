// SPDX-License-Identifier: GPL-2.0-or-later
#include "extcap/fifo.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <sys/stat.h>

#define RELEASE_WAIT_US  (5 * G_USEC_PER_SEC)
#define RELEASE_CHECK_US (10 * 1000)

void fifo_release_reader(const char *fifo)
{
    int flags = O_WRONLY;
#ifndef G_OS_WIN32
    struct stat status;
    if (g_stat(fifo, &status) < 0 || !S_ISFIFO(status.st_mode))
        return;
    flags |= O_NONBLOCK; /* fails with ENXIO as long as nobody reads */
#endif
    gint64 end = g_get_monotonic_time() + RELEASE_WAIT_US;
    int file;
    while ((file = g_open(fifo, flags, 0)) < 0 && errno == ENXIO && g_get_monotonic_time() < end)
        g_usleep(RELEASE_CHECK_US);
    if (file >= 0)
        g_close(file, NULL);
}
