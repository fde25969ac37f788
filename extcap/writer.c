// SPDX-License-Identifier: GPL-2.0-or-later
#include "extcap/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#ifdef G_OS_WIN32
#include <io.h>
#else
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>
#endif
#ifndef O_BINARY
#define O_BINARY 0
#endif

#include "common/pcapng/pcapng.h"
#include "extcap/options.h"

#define FIFO_BYTES    (1024 * 1024) /* what an unprivileged process may ask for on Linux */
#define BLOCK_MINIMUM 12u           /* type, length, length */
#define PIECES_MAX    1024u         /* IOV_MAX of Linux, macOS and the BSDs */

struct Writer {
    int file;
    bool is_file; /* can be cut back */
    bool is_new;  /* was not there before */
    bool begun;   /* something is written */
    char *name;
    uint64_t limit;
    uint64_t packets; /* counted only under a limit */
    uint64_t bytes;   /* in whole blocks */
    GByteArray *flat; /* pieces in one */
    int full;         /* atomic */
    int error;        /* of the first write that failed: errno */
};

static bool fail(GError **error, const char *what, const char *name, int code)
{
    g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_FAILED, "cannot %s %s: %s", what, name,
                g_strerror(code));
    return false;
}

/* Does not cut what is there: the capture may never begin. */
static int open_path(const char *path, GError **error)
{
    if (strcmp(path, "-") == 0) {
        if (isatty(1)) {
            g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_USAGE,
                        "standard output is a terminal, which pcapng would garble: give a file "
                        "with --write, or pipe "
                        "it into tshark -r -");
            return -1;
        }
#ifdef G_OS_WIN32
        _setmode(1, O_BINARY);
#endif
        return 1;
    }
    int file = g_open(path, O_WRONLY | O_CREAT | O_BINARY, 0666);
    if (file < 0)
        fail(error, "open", path, errno);
    return file;
}

Writer *writer_open(const char *path, uint64_t packet_limit, GError **error)
{
    bool is_new = strcmp(path, "-") != 0 && !g_file_test(path, G_FILE_TEST_EXISTS);
    int file = open_path(path, error);
    if (file < 0)
        return NULL;

    Writer *writer = g_new0(Writer, 1);
    writer->file = file;
    writer->name = g_strdup(file == 1 ? "standard output" : path);
    writer->limit = packet_limit;
    writer->is_new = is_new;
    struct stat status;
    if (fstat(file, &status) == 0) {
        writer->is_file = S_ISREG(status.st_mode) && file != 1;
#if defined(S_ISFIFO) && defined(F_SETPIPE_SZ)
        /* A batch of the collector then fits, and the two sides take fewer turns. May be refused:
         * then it is as it is. */
        if (S_ISFIFO(status.st_mode))
            (void)fcntl(file, F_SETPIPE_SZ, FIFO_BYTES);
#endif
    }
    return writer;
}

/* Length of the first block; all of `length` if what stands there cannot be one. */
static size_t block_length(const uint8_t *bytes, size_t length)
{
    uint32_t value;
    if (length < BLOCK_MINIMUM)
        return length;
    memcpy(&value, bytes + 4, sizeof value);
    value = GUINT32_FROM_LE(value);
    return value < BLOCK_MINIMUM || value > length ? length : value;
}

static uint32_t block_type(const uint8_t *bytes, size_t length)
{
    uint32_t value;
    if (length < BLOCK_MINIMUM)
        return 0;
    memcpy(&value, bytes, sizeof value);
    return GUINT32_FROM_LE(value);
}

/* How many of the first `written` bytes are whole blocks. */
static size_t whole_blocks(const uint8_t *bytes, size_t length, size_t written)
{
    size_t whole = 0;
    while (whole < length) {
        size_t next = block_length(bytes + whole, length - whole);
        if (whole + next > written)
            break;
        whole += next;
    }
    return whole;
}

/* Whether another attempt may do better. Standard output may be non-blocking at the wish of whoever
 * has it open too. */
static bool may_try_again(int file, int error)
{
    if (error == EINTR)
        return true;
#ifndef G_OS_WIN32
    if (error == EAGAIN) {
        struct pollfd room = {.fd = file, .events = POLLOUT};
        return poll(&room, 1, -1) >= 0 || errno == EINTR;
    }
#endif
    return false;
}

/* `written` of the bytes are. */
static int end_write(Writer *writer, const uint8_t *bytes, size_t length, size_t written)
{
    if (written == length) {
        writer->bytes += length;
        return 0;
    }
    writer->bytes += whole_blocks(bytes, length, written);
#ifndef G_OS_WIN32
    /* A disk that is full: the reader of the file shall not stumble over half a block. */
    if (writer->is_file && ftruncate(writer->file, (off_t)writer->bytes) < 0)
        return -writer->error;
#endif
    return -writer->error;
}

static int write_blocks(Writer *writer, const uint8_t *bytes, size_t length)
{
    size_t written = 0;
    while (written < length) {
        gssize n = write(writer->file, bytes + written, length - written);
        if (n >= 0) {
            written += (size_t)n;
            continue;
        }
        int error = errno;
        if (!may_try_again(writer->file, error)) {
            writer->error = error;
            break;
        }
    }
    return end_write(writer, bytes, length, written);
}

/* Under a limit: what comes before the packet that is one too many goes in one piece, then only
 * what is no packet. */
static int write_limited(Writer *writer, const uint8_t *bytes, size_t length)
{
    size_t start = 0, end = 0;
    while (end < length) {
        size_t next = block_length(bytes + end, length - end);
        bool packet = block_type(bytes + end, length - end) == PCAPNG_PACKET;
        if (packet && writer->packets == writer->limit) {
            int r = write_blocks(writer, bytes + start, end - start);
            if (r < 0)
                return r;
            start = end + next;
        } else if (packet) {
            writer->packets++;
        }
        end += next;
    }
    int r = write_blocks(writer, bytes + start, end - start);
    if (writer->packets == writer->limit)
        g_atomic_int_set(&writer->full, 1);
    return r;
}

/* Before the first bytes: what was in the file goes. */
static void begin(Writer *writer)
{
    writer->begun = true;
#ifdef G_OS_WIN32
    if (writer->is_file && _chsize(writer->file, 0) < 0)
#else
    if (writer->is_file && ftruncate(writer->file, 0) < 0)
#endif
        writer->error = errno;
}

/* Whether there is any use in writing. */
static bool ready(Writer *writer, size_t length)
{
    if (!writer->begun && length && !writer->error)
        begin(writer);
    return !writer->error;
}

int writer_write(Writer *writer, const uint8_t *bytes, size_t length)
{
    if (!ready(writer, length))
        return -writer->error;
    return writer->limit ? write_limited(writer, bytes, length)
                         : write_blocks(writer, bytes, length);
}

static const GByteArray *flatten(Writer *writer, const CollectorBytes *pieces, size_t n_pieces)
{
    if (!writer->flat)
        writer->flat = g_byte_array_new();
    g_byte_array_set_size(writer->flat, 0);
    for (size_t i = 0; i < n_pieces; i++)
        g_byte_array_append(writer->flat, pieces[i].data, (guint)pieces[i].length);
    return writer->flat;
}

#ifndef G_OS_WIN32
/* Up to PIECES_MAX of the pieces, less the first `skip` bytes. Returns what write() does. */
static gssize write_some(const Writer *writer, const CollectorBytes *pieces, size_t n_pieces,
                         size_t skip)
{
    struct iovec vectors[PIECES_MAX];
    size_t n = MIN(n_pieces, PIECES_MAX);
    for (size_t i = 0; i < n; i++)
        vectors[i] = (struct iovec){(void *)(uintptr_t)pieces[i].data, pieces[i].length};
    vectors[0].iov_base = (uint8_t *)vectors[0].iov_base + skip;
    vectors[0].iov_len -= skip;
    return writev(writer->file, vectors, (int)n);
}

/* Returns how many bytes were written; fewer than all with the error kept. */
static size_t write_vectors(Writer *writer, const CollectorBytes *pieces, size_t n_pieces)
{
    size_t written = 0, at = 0, skip = 0; /* pieces before `at` are out, and `skip` bytes of it */
    while (at < n_pieces) {
        gssize n = write_some(writer, pieces + at, n_pieces - at, skip);
        int error = errno;
        if (n < 0 && !may_try_again(writer->file, error)) {
            writer->error = error;
            break;
        }
        n = MAX(n, 0);
        written += (size_t)n;
        for (skip += (size_t)n; at < n_pieces && skip >= pieces[at].length; at++)
            skip -= pieces[at].length;
    }
    return written;
}
#endif

int writer_write_pieces(Writer *writer, const CollectorBytes *pieces, size_t n_pieces)
{
#ifdef G_OS_WIN32
    const GByteArray *flat = flatten(writer, pieces, n_pieces);
    return writer_write(writer, flat->data, flat->len);
#else
    size_t length = 0;
    for (size_t i = 0; i < n_pieces; i++)
        length += pieces[i].length;
    if (!ready(writer, length))
        return -writer->error;
    if (!writer->limit) {
        size_t written = write_vectors(writer, pieces, n_pieces);
        if (written == length) {
            writer->bytes += length;
            return 0;
        }
        const GByteArray *flat = flatten(writer, pieces, n_pieces);
        return end_write(writer, flat->data, length, written);
    }
    const GByteArray *flat = flatten(writer, pieces, n_pieces);
    return write_limited(writer, flat->data, length);
#endif
}

bool writer_full(const Writer *writer)
{
    return g_atomic_int_get(&writer->full);
}

bool writer_abandoned(const Writer *writer)
{
#ifdef G_OS_WIN32
    return false; /* the next write tells */
#else
    struct pollfd file = {.fd = writer->file};
    return poll(&file, 1, 0) > 0 && (file.revents & POLLERR);
#endif
}

uint64_t writer_bytes(const Writer *writer)
{
    return writer->bytes;
}

const char *writer_name(const Writer *writer)
{
    return writer->name;
}

bool writer_close(Writer *writer, GError **error)
{
    bool ok = true;
    if (writer->error && writer->error != EPIPE) {
        g_set_error(error, REMORADUMP_ERROR, REMORADUMP_ERROR_FAILED,
                    "cannot write %s: %s; the first %" G_GUINT64_FORMAT
                    " bytes are there and end with a whole packet",
                    writer->name, g_strerror(writer->error), writer->bytes);
        ok = false;
    }
    /* Some file systems tell only now that they have no room. */
    if (writer->file != 1 && close(writer->file) < 0 && errno != EINTR && ok)
        ok = fail(error, "write", writer->name, errno);
    if (writer->is_new && writer->is_file && !writer->begun)
        (void)g_unlink(writer->name);
    if (writer->flat)
        g_byte_array_unref(writer->flat);
    g_free(writer->name);
    g_free(writer);
    return ok;
}
