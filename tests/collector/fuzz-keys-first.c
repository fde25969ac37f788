// SPDX-License-Identifier: GPL-2.0-or-later
/* Any bytes as a file whose secrets are put first: nothing is lost or made up, what comes out is
 * whole, and there is nothing left to do about it. */
#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "collector/collector.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct MemoryFile {
    int fd;
    char path[32]; /* by which it can be opened */
} MemoryFile;

static void require(bool condition)
{
    if (!condition)
        abort();
}

static MemoryFile make(const void *data, size_t size)
{
    MemoryFile file = {.fd = memfd_create("fuzz", MFD_CLOEXEC)};
    require(file.fd >= 0 && write(file.fd, data, size) == (ssize_t)size);
    g_snprintf(file.path, sizeof file.path, "/proc/self/fd/%d", file.fd);
    return file;
}

static GByteArray *content(const MemoryFile *file)
{
    off_t size = lseek(file->fd, 0, SEEK_END);
    GByteArray *bytes = g_byte_array_sized_new((guint)size + 1);
    g_byte_array_set_size(bytes, (guint)size);
    require(pread(file->fd, bytes->data, (size_t)size, 0) == size);
    return bytes;
}

static uint64_t sum_of(const uint8_t *data, size_t size)
{
    uint64_t sum = 0;
    while (size--)
        sum += data[size];
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    MemoryFile in = make(data, size), out = make("", 0), again = make("", 0);
    CollectorKeysFirstStats stats;
    g_autoptr(GError) error = NULL;
    bool whole = collector_keys_first(in.path, out.path, &stats, &error);
    require(whole == !error &&
            (whole || g_error_matches(error, COLLECTOR_ERROR, COLLECTOR_ERROR_FORMAT)));
    g_autoptr(GByteArray) first = content(&out);
    require(first->len <= size && (!whole || first->len == size));
    /* The tear may be anywhere, but what was written is all that stands ahead of it. */
    require(sum_of(first->data, first->len) == sum_of(data, first->len));
    if (first->len) {
        require(collector_keys_first(out.path, again.path, &stats, NULL) && !stats.moved);
        g_autoptr(GByteArray) second = content(&again);
        require(second->len == first->len && !memcmp(first->data, second->data, first->len));
    }
    close(in.fd);
    close(out.fd);
    close(again.fd);
    return 0;
}
