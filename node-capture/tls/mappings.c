// SPDX-License-Identifier: GPL-2.0-or-later
#include "node-capture/tls/mappings.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <glib.h>

#define RING_BYTES          (256u * 1024u) /* of each processor; a record has some 150 bytes */
#define RECORD_MAX          (sizeof(struct perf_event_header) + 65536u)
#define PERF_MAP_EXECUTABLE 4u /* PROT_EXEC in a record */

typedef struct Ring {
    int fd;
    struct perf_event_mmap_page *page;
} Ring;

struct Mappings {
    MappingsCallback callback;
    void *userdata;
    GArray *rings; /* of Ring, one for each processor */
    int epoll_fd;
    uint64_t lost;
    uint64_t record[RECORD_MAX / sizeof(uint64_t) + 1]; /* the one in hand */
};

/* PERF_RECORD_MMAP2 without build id, without sample ids: see perf_event_open(2). */
typedef struct MappingRecord {
    struct perf_event_header header;
    uint32_t pid, tid;
    uint64_t address, length, offset;
    uint32_t major, minor;
    uint64_t inode, generation;
    uint32_t protection, flags;
    char path[];
} MappingRecord;

typedef struct LostRecord {
    struct perf_event_header header;
    uint64_t id, lost;
} LostRecord;

static size_t ring_length(void)
{
    return RING_BYTES + (size_t)sysconf(_SC_PAGESIZE);
}

static void ring_clear(void *data)
{
    Ring *ring = data;
    if (ring->page) {
        munmap(ring->page, ring_length());
    }
    close(ring->fd);
}

static int add_ring(Mappings *mappings, int processor)
{
    struct perf_event_attr attributes = {
        .type = PERF_TYPE_SOFTWARE,
        .size = sizeof(attributes),
        .config = PERF_COUNT_SW_DUMMY,
        .mmap = 1, /* executable mappings; other ones would be mmap_data */
        .mmap2 = 1,
        .watermark = 1,
        .wakeup_watermark = 1,
    };
    int fd =
        (int)syscall(__NR_perf_event_open, &attributes, -1, processor, -1, PERF_FLAG_FD_CLOEXEC);
    if (fd < 0) {
        return errno == ENODEV ? 0 : -errno; /* that processor is off */
    }
    Ring ring = {.fd = fd};
    void *memory = mmap(NULL, ring_length(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    struct epoll_event event = {.events = EPOLLIN};
    int error = 0;
    if (memory == MAP_FAILED || epoll_ctl(mappings->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        error = -errno;
    }
    ring.page = memory == MAP_FAILED ? NULL : memory;
    g_array_append_val(mappings->rings, ring);
    return error;
}

int mappings_new(MappingsCallback callback, void *userdata, Mappings **ret)
{
    Mappings *mappings = g_new0(Mappings, 1);
    mappings->callback = callback;
    mappings->userdata = userdata;
    mappings->rings = g_array_new(FALSE, FALSE, sizeof(Ring));
    g_array_set_clear_func(mappings->rings, ring_clear);
    mappings->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int error = mappings->epoll_fd < 0 ? -errno : 0;
    long processors = sysconf(_SC_NPROCESSORS_CONF);
    for (int i = 0; !error && i < processors; i++) {
        error = add_ring(mappings, i);
    }
    if (error) {
        mappings_free(mappings);
        return error;
    }
    *ret = mappings;
    return 0;
}

Mappings *mappings_free(Mappings *mappings)
{
    if (mappings) {
        g_array_unref(mappings->rings);
        if (mappings->epoll_fd >= 0) {
            close(mappings->epoll_fd);
        }
        g_free(mappings);
    }
    return NULL;
}

int mappings_fd(const Mappings *mappings)
{
    return mappings->epoll_fd;
}

/* ---- Records ---------------------------------------------------------------------------------*/

/* `length` bytes of the ring from `at` on; they may go over its end. */
static void copy(const Ring *ring, uint64_t at, void *out, size_t length)
{
    const uint8_t *data = (const uint8_t *)ring->page + ring->page->data_offset;
    size_t size = ring->page->data_size, begin = (size_t)(at % size);
    size_t first = MIN(length, size - begin);
    memcpy(out, data + begin, first);
    memcpy((uint8_t *)out + first, data, length - first);
}

static void take_mapping(Mappings *mappings, const MappingRecord *record)
{
    size_t path_length = record->header.size - sizeof(*record);
    if (!(record->protection & PERF_MAP_EXECUTABLE) || record->inode == 0 ||
        record->path[0] != '/' || !memchr(record->path, '\0', path_length)) {
        return;
    }
    MappedId id = {record->major, record->minor, record->inode, record->generation};
    mappings->callback((pid_t)record->pid, &id, record->path, mappings->userdata);
}

static void take_record(Mappings *mappings, const struct perf_event_header *header)
{
    if (header->type == PERF_RECORD_MMAP2 && header->size > sizeof(MappingRecord)) {
        take_mapping(mappings, (const MappingRecord *)(const void *)header);
    } else if (header->type == PERF_RECORD_LOST && header->size >= sizeof(LostRecord)) {
        mappings->lost += ((const LostRecord *)(const void *)header)->lost;
    }
}

static void drain(Mappings *mappings, const Ring *ring)
{
    uint64_t head = __atomic_load_n(&ring->page->data_head, __ATOMIC_ACQUIRE);
    uint64_t tail = ring->page->data_tail;
    while (head - tail >= sizeof(struct perf_event_header)) {
        struct perf_event_header header;
        copy(ring, tail, &header, sizeof(header));
        bool whole = header.size >= sizeof(header) && header.size <= head - tail;
        if (whole) {
            copy(ring, tail, mappings->record, header.size);
        }
        tail = whole ? tail + header.size : head; /* the kernel writes no others */
        /* There is room again before the callback, which may take long. */
        __atomic_store_n(&ring->page->data_tail, tail, __ATOMIC_RELEASE);
        if (whole) {
            take_record(mappings, (const struct perf_event_header *)(const void *)mappings->record);
        }
    }
}

uint64_t mappings_dispatch(Mappings *mappings)
{
    mappings->lost = 0;
    for (guint i = 0; i < mappings->rings->len; i++) {
        drain(mappings, &g_array_index(mappings->rings, Ring, i));
    }
    return mappings->lost;
}
