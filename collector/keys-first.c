// SPDX-License-Identifier: GPL-2.0-or-later
/* Secrets ahead of the packets that they decrypt. Each section is read anew for each of its parts,
 * so that nothing of it is kept in memory. */
#include "collector/collector.h"
#include "collector/file-copy.h"
#include "common/pcapng/bytes.h"

/* What a section consists of, in the order in which it is written. */
typedef enum Part {
    PART_HEAD, /* the section header and the interfaces behind it */
    PART_SECRETS,
    PART_REST,
} Part;

typedef struct Job {
    FileCopy files;
    PcapngReader *reader;
    CollectorKeysFirstStats stats;
} Job;

/* `in_head` is true at the section's first block. */
static Part part_of(const PcapngBlock *block, bool *in_head)
{
    if (block->type == PCAPNG_SECRETS)
        return PART_SECRETS;
    *in_head = *in_head && (block->type == PCAPNG_SECTION || block->type == PCAPNG_INTERFACE);
    return *in_head ? PART_HEAD : PART_REST;
}

/* The header's type reads the same in either byte order, and is no other block's. */
static bool at_section(Job *job)
{
    file_copy_fill(&job->files, 4);
    return file_copy_available(&job->files) >= 4 &&
           load32(file_copy_bytes(&job->files), false) == PCAPNG_SECTION;
}

/* Writes one part of the section that begins at `start` and ends before `end`, the next section
 * header, or the end of the file. */
static bool write_part(Job *job, uint64_t start, uint64_t end, Part part)
{
    FileCopy *files = &job->files;
    if (!file_copy_seek(files, start))
        return false;
    pcapng_reader_restart(job->reader, start);
    bool in_head = true;
    while (files->offset < end && (files->offset == start || !at_section(job))) {
        PcapngBlock block;
        int r = file_copy_block(files, job->reader, &block);
        if (r <= 0)
            return r == 0;
        Part found = part_of(&block, &in_head);
        if (found == part && !file_copy_write(files, block.data, block.length))
            return false;
        if (part == PART_HEAD && !in_head)
            return true;
        if (part == PART_SECRETS && found == PART_SECRETS) {
            job->stats.secrets++;
            job->stats.moved += !in_head;
        }
    }
    return true;
}

static bool cannot_go_on(const Job *job)
{
    return job->files.error &&
           !g_error_matches(job->files.error, COLLECTOR_ERROR, COLLECTOR_ERROR_FORMAT);
}

/* The section that begins at the current offset. Where it is torn is found when its secrets are
 * looked for, the only time that all of it is read before its end is known. */
static bool write_section(Job *job)
{
    uint64_t start = job->files.offset;
    if (!write_part(job, start, UINT64_MAX, PART_HEAD)) {
        if (cannot_go_on(job))
            return false;
        g_clear_error(&job->files.error);
    }
    bool whole = write_part(job, start, UINT64_MAX, PART_SECRETS);
    if (cannot_go_on(job))
        return false;
    GError *tear = g_steal_pointer(&job->files.error);
    uint64_t end = job->files.offset;
    job->stats.sections += end > start;
    bool ok = write_part(job, start, end, PART_REST);
    if (ok)
        job->files.error = tear;
    else
        g_clear_error(&tear);
    return ok && whole;
}

static bool write_sections(Job *job)
{
    FileForm form;
    if (!file_copy_form(&job->files, &form))
        return false;
    if (form.is_pcap)
        return file_copy_fail(&job->files, "a classic pcap file, which holds no secrets; expected "
                                           "pcapng (editcap --inject-secrets makes one of both)");
    if (!file_copy_seekable(&job->files))
        return false;
    /* What somebody appends meanwhile begins no section, and is left alone. */
    do {
        if (!write_section(job))
            return false;
    } while (at_section(job));
    return true;
}

bool collector_keys_first(const char *in_path, const char *out_path, CollectorKeysFirstStats *ret,
                          GError **error)
{
    g_autofree Job *job = g_new0(Job, 1);
    job->reader = pcapng_reader_new();
    bool ok = file_copy_open(&job->files, in_path, out_path) && write_sections(job);
    *ret = job->stats;
    pcapng_reader_free(job->reader);
    return file_copy_close(&job->files, ok, error);
}
