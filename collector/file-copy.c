// SPDX-License-Identifier: GPL-2.0-or-later
#include "collector/file-copy.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "collector/collector.h"
#include "common/pcapng/bytes.h"

#define READ_BYTES (256u * 1024u)

bool file_copy_fail(FileCopy *copy, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    if (!copy->error)
        copy->error =
            g_error_new(COLLECTOR_ERROR, COLLECTOR_ERROR_FORMAT, "%s: %s",
                        strcmp(copy->in_path, "-") == 0 ? "standard input" : copy->in_path, text);
    return false;
}

static bool fail_write(FileCopy *copy)
{
    if (!copy->error)
        copy->error = g_error_new(COLLECTOR_ERROR, COLLECTOR_ERROR_WRITE, "Cannot write %s: %s",
                                  copy->out_path, g_strerror(errno));
    return false;
}

/* ---- Bytes in and out ------------------------------------------------------------------------*/

size_t file_copy_available(const FileCopy *copy)
{
    return copy->end - copy->start;
}

const uint8_t *file_copy_bytes(const FileCopy *copy)
{
    return copy->buffer + copy->start;
}

void file_copy_fill(FileCopy *copy, size_t wanted)
{
    if (file_copy_available(copy) >= wanted)
        return;
    memmove(copy->buffer, file_copy_bytes(copy), file_copy_available(copy));
    copy->end -= copy->start;
    copy->start = 0;
    if (copy->capacity < wanted + READ_BYTES) {
        copy->capacity = wanted + READ_BYTES;
        copy->buffer = g_realloc(copy->buffer, copy->capacity);
    }
    while (file_copy_available(copy) < wanted) {
        size_t n = fread(copy->buffer + copy->end, 1, copy->capacity - copy->end, copy->in);
        if (!n)
            return;
        copy->end += n;
    }
}

void file_copy_advance(FileCopy *copy, size_t length)
{
    copy->start += length;
    copy->offset += length;
}

bool file_copy_write(FileCopy *copy, const void *data, size_t length)
{
    return fwrite(data, 1, length, copy->out) == length || fail_write(copy);
}

bool file_copy_at_end(FileCopy *copy, const char *what, uint64_t expected)
{
    if (ferror(copy->in))
        return file_copy_fail(copy, "offset %" PRIu64 ": cannot read on",
                              copy->offset + file_copy_available(copy));
    if (!file_copy_available(copy))
        return true;
    return file_copy_fail(
        copy, "offset %" PRIu64 ": the file is torn: %zu bytes of a %s, expected %" PRIu64,
        copy->offset, file_copy_available(copy), what, expected);
}

/* ---- Forms and blocks ------------------------------------------------------------------------*/

bool file_copy_form(FileCopy *copy, FileForm *ret)
{
    file_copy_fill(copy, 4);
    if (file_copy_available(copy) < 4)
        return file_copy_fail(copy, "offset 0: %zu bytes, expected a pcap or pcapng file",
                              file_copy_available(copy));
    for (int swapped = 0; swapped < 2; swapped++) {
        uint32_t magic = load32(file_copy_bytes(copy), swapped);
        *ret = (FileForm){true, swapped, magic == 0xa1b23c4d};
        if (magic == 0xa1b2c3d4 || magic == 0xa1b23c4d)
            return true;
    }
    *ret = (FileForm){0};
    if (load32(file_copy_bytes(copy), false) == PCAPNG_SECTION)
        return true;
    return file_copy_fail(
        copy, "offset 0: neither pcap nor pcapng, expected one of these, not compressed");
}

int file_copy_block(FileCopy *copy, PcapngReader *reader, PcapngBlock *ret)
{
    for (;;) {
        size_t needed = 0;
        int r = pcapng_reader_next(reader, file_copy_bytes(copy), file_copy_available(copy), ret,
                                   &needed);
        if (r < 0) {
            file_copy_fail(copy, "%s", pcapng_reader_error(reader));
            return -1;
        }
        if (r > 0) {
            file_copy_advance(copy, ret->length);
            return 1;
        }
        file_copy_fill(copy, needed);
        if (file_copy_available(copy) < needed)
            return file_copy_at_end(copy, "block", needed) ? 0 : -1;
    }
}

/* ---- Back and forth --------------------------------------------------------------------------*/

static bool is_regular(FILE *file)
{
    struct stat status;
    return fstat(fileno(file), &status) == 0 && S_ISREG(status.st_mode);
}

static bool fail_spool(FileCopy *copy)
{
    int error = errno;
    return file_copy_fail(copy,
                          "is read twice, and cannot be kept in %s meanwhile: %s; name another "
                          "folder by TMPDIR, or a file as IN",
                          g_get_tmp_dir(), g_strerror(error));
}

/* Without a name from the start: nothing is left of it, whatever happens. */
static FILE *open_spool(void)
{
    g_autofree char *name = NULL;
    int fd = g_file_open_tmp("remora-XXXXXX", &name, NULL);
    if (fd < 0)
        return NULL;
    g_unlink(name);
    return fdopen(fd, "w+b");
}

bool file_copy_seekable(FileCopy *copy)
{
    /* A standard input that somebody has read from would be rewound too far. */
    if (is_regular(copy->in) &&
        (uint64_t)ftello(copy->in) == copy->offset + file_copy_available(copy))
        return true;
    FILE *spool = open_spool();
    if (!spool)
        return fail_spool(copy);
    bool ok = true;
    while (ok) {
        size_t length = file_copy_available(copy);
        ok = fwrite(file_copy_bytes(copy), 1, length, spool) == length;
        file_copy_advance(copy, length);
        file_copy_fill(copy, 1);
        if (!file_copy_available(copy))
            break;
    }
    if (!ok || fflush(spool) != 0) {
        fail_spool(copy);
        fclose(spool);
        return false;
    }
    if (ferror(copy->in))
        file_copy_at_end(copy, "file", 0);
    if (copy->in != stdin)
        fclose(copy->in);
    copy->in = spool;
    return !copy->error && file_copy_seek(copy, 0);
}

bool file_copy_seek(FileCopy *copy, uint64_t offset)
{
    /* Mostly it is still there: small sections are not read from the file again. */
    uint64_t first = copy->offset - copy->start;
    if (offset >= first && offset <= first + copy->end) {
        copy->start = (size_t)(offset - first);
    } else {
        if (fseeko(copy->in, (off_t)offset, SEEK_SET) < 0)
            return file_copy_fail(copy, "offset %" PRIu64 ": cannot read there: %s", offset,
                                  g_strerror(errno));
        clearerr(copy->in);
        copy->start = copy->end = 0;
    }
    copy->offset = offset;
    return true;
}

/* ---- Files -----------------------------------------------------------------------------------*/

static FILE *open_file(FileCopy *copy, const char *path, const char *mode, FILE *standard)
{
    if (strcmp(path, "-") == 0)
        return standard;
    FILE *file = g_fopen(path, mode);
    if (!file)
        g_set_error(&copy->error, COLLECTOR_ERROR, COLLECTOR_ERROR_CONFIG, "Cannot open %s: %s",
                    path, g_strerror(errno));
    return file;
}

static bool is_same_file(FILE *a, FILE *b)
{
    struct stat sa, sb;
    return fstat(fileno(a), &sa) == 0 && fstat(fileno(b), &sb) == 0 && S_ISREG(sa.st_mode) &&
           sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

bool file_copy_open(FileCopy *copy, const char *in_path, const char *out_path)
{
    *copy = (FileCopy){.in_path = in_path, .out_path = out_path, .capacity = READ_BYTES};
    copy->buffer = g_malloc(copy->capacity);
    copy->in = open_file(copy, in_path, "rb", stdin);
    /* Appending does not cut what may turn out to be the input. */
    copy->out = copy->in ? open_file(copy, out_path, "ab", stdout) : NULL;
    if (!copy->out)
        return false;
    if (is_same_file(copy->in, copy->out))
        return file_copy_fail(copy, "the output would overwrite the input; name another file");
    if (copy->out != stdout && is_regular(copy->out))
        return ftruncate(fileno(copy->out), 0) == 0 || fail_write(copy);
    return true;
}

static bool close_out(FileCopy *copy, bool ok)
{
    bool flushed = fflush(copy->out) == 0 || (ok && fail_write(copy));
    bool closed =
        copy->out == stdout || fclose(copy->out) == 0 || (ok && flushed && fail_write(copy));
    return ok && flushed && closed;
}

bool file_copy_close(FileCopy *copy, bool ok, GError **error)
{
    if (copy->out)
        ok = close_out(copy, ok);
    if (copy->in && copy->in != stdin)
        fclose(copy->in);
    g_free(copy->buffer);
    if (copy->error)
        g_propagate_error(error, copy->error);
    return ok;
}
