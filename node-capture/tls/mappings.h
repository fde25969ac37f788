// SPDX-License-Identifier: GPL-2.0-or-later
/* Which processes of the machine map a file to run it, told as it happens: programs as they start,
 * and their libraries. From the kernel's perf events (PERF_RECORD_MMAP2, perf_event_open(2)), which
 * need CAP_PERFMON. One thread. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* Of the file as the kernel numbers it. */
typedef struct MappedId {
    uint32_t major, minor;
    uint64_t inode, generation;
} MappedId;

typedef struct Mappings Mappings;

/* `path`: in the process's own tree, and only a hint. */
typedef void (*MappingsCallback)(pid_t pid, const MappedId *id, const char *path, void *userdata);

/* 0, or -errno. */
int mappings_new(MappingsCallback callback, void *userdata, Mappings **ret);
Mappings *mappings_free(Mappings *mappings); /* NULL is fine; returns NULL */
int mappings_fd(const Mappings *mappings);   /* readable: there are some */
/* Calls back for all that are there. Returns how many were lost since the last call. */
uint64_t mappings_dispatch(Mappings *mappings);
