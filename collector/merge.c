// SPDX-License-Identifier: GPL-2.0-or-later
/* A binary heap of runs. A run is a stretch of one message whose packets ascend in time; a message
 * of several targets is a few such runs, so nothing is ever sorted. In the heap stands only what is
 * compared: moving that about is what a packet costs here. */
#include "collector/merge.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "common/pcapng/bytes.h"
#include "common/pcapng/pcapng.h"

typedef struct Run {
    uint64_t order; /* of arrival, for equal times */
    MergeBuffer *buffer;
    uint32_t offset;    /* of the block of its first packet that is left */
    uint32_t end;       /* after the run's last block */
    uint32_t next_free; /* where no run is: index of another such place, or UINT32_MAX */
} Run;

typedef struct Key {
    uint64_t time_ns; /* of the run's first packet that is left */
    uint32_t run;     /* index in `runs` */
} Key;

typedef struct MergeStream {
    bool used;     /* merge_add() gave it out, and merge_remove() has not taken it back */
    uint32_t held; /* buffers */
    bool live, stalled;
    uint64_t stalls;
    uint64_t watermark_ns;
    uint64_t risen_ns; /* when the watermark rose last */
    uint64_t held_bytes;
} MergeStream;

struct Merge {
    Key *heap;
    Run *runs;               /* where a run stands does not change */
    uint32_t free_run;       /* a place for one more; UINT32_MAX: none */
    size_t n_runs, capacity; /* of both */
    uint64_t order;
    MergeStream *streams;
    uint32_t n_streams; /* with those that may be given out again */
    uint32_t n_used;
    uint64_t max_wait_ns;
    uint64_t memory_limit;
    uint64_t now_ns;
    uint64_t frontier_ns;
    uint64_t newest_out_ns;
    uint64_t held_bytes, held_packets;
};

MergeBuffer *merge_buffer_room(size_t length)
{
    MergeBuffer *buffer = g_malloc(sizeof *buffer + length);
    *buffer = (MergeBuffer){.refs = 1, .length = length};
    return buffer;
}

MergeBuffer *merge_buffer_new(const void *bytes, size_t length)
{
    MergeBuffer *buffer = merge_buffer_room(length);
    memcpy(buffer->data, bytes, length);
    return buffer;
}

MergeBuffer *merge_buffer_ref(MergeBuffer *buffer)
{
    buffer->refs++;
    return buffer;
}

MergeBuffer *merge_buffer_unref(MergeBuffer *buffer)
{
    if (!buffer || --buffer->refs)
        return NULL;
    if (buffer->merge) {
        buffer->merge->held_bytes -= buffer->length;
        buffer->merge->streams[buffer->stream].held_bytes -= buffer->length;
        buffer->merge->streams[buffer->stream].held--;
    }
    if (buffer->release)
        buffer->release(buffer->context);
    g_free(buffer);
    return NULL;
}

Merge *merge_new(uint32_t n_streams, uint64_t max_wait_ns, uint64_t memory_limit)
{
    Merge *merge = g_new0(Merge, 1);
    merge->max_wait_ns = max_wait_ns;
    merge->memory_limit = memory_limit;
    merge->frontier_ns = UINT64_MAX;
    merge->free_run = UINT32_MAX;
    while (merge->n_used < n_streams)
        merge_add(merge);
    return merge;
}

uint32_t merge_add(Merge *merge)
{
    uint32_t stream = 0;
    while (stream < merge->n_streams &&
           (merge->streams[stream].used || merge->streams[stream].held))
        stream++;
    if (stream == merge->n_streams)
        merge->streams = g_renew(MergeStream, merge->streams, ++merge->n_streams);
    merge->streams[stream] = (MergeStream){.used = true};
    merge->n_used++;
    return stream;
}

void merge_remove(Merge *merge, uint32_t stream)
{
    merge_close(merge, stream);
    merge->streams[stream].used = false;
    merge->n_used--;
}

Merge *merge_free(Merge *merge)
{
    if (!merge)
        return NULL;
    for (size_t i = 0; i < merge->n_runs; i++)
        merge_buffer_unref(merge->runs[merge->heap[i].run].buffer);
    g_free(merge->heap);
    g_free(merge->runs);
    g_free(merge->streams);
    g_free(merge);
    return NULL;
}

static void find_frontier(Merge *merge)
{
    merge->frontier_ns = UINT64_MAX;
    for (uint32_t i = 0; i < merge->n_streams; i++) {
        const MergeStream *stream = &merge->streams[i];
        if (stream->live && !stream->stalled && stream->watermark_ns < merge->frontier_ns)
            merge->frontier_ns = stream->watermark_ns;
    }
}

void merge_open(Merge *merge, uint32_t stream, uint64_t now_ns)
{
    MergeStream *s = &merge->streams[stream];
    s->live = true;
    s->stalled = false;
    s->watermark_ns = 0;
    s->risen_ns = now_ns;
    find_frontier(merge);
}

void merge_close(Merge *merge, uint32_t stream)
{
    merge->streams[stream].live = false;
    find_frontier(merge);
}

void merge_watermark(Merge *merge, uint32_t stream, uint64_t watermark_ns, uint64_t now_ns)
{
    MergeStream *s = &merge->streams[stream];
    if (watermark_ns <= s->watermark_ns)
        return;
    bool moves_frontier = s->stalled || s->watermark_ns == merge->frontier_ns;
    s->watermark_ns = watermark_ns;
    s->risen_ns = now_ns;
    s->stalled = false;
    if (moves_frontier)
        find_frontier(merge);
}

bool merge_advance(Merge *merge, uint64_t now_ns)
{
    bool stalled = false;
    merge->now_ns = now_ns;
    for (uint32_t i = 0; i < merge->n_streams; i++) {
        MergeStream *stream = &merge->streams[i];
        if (stream->live && !stream->stalled && now_ns > stream->risen_ns + merge->max_wait_ns) {
            stalled = stream->stalled = true;
            stream->stalls++;
        }
    }
    find_frontier(merge);
    return stalled;
}

/* ---- The heap --------------------------------------------------------------------------------*/

/* The times without a branch: nobody could guess which of two runs is next. */
static inline bool before(const Merge *merge, const Key *a, const Key *b)
{
    if (G_UNLIKELY(a->time_ns == b->time_ns))
        return merge->runs[a->run].order < merge->runs[b->run].order;
    return a->time_ns < b->time_ns;
}

/* Puts the key into the free place `at` or above it. */
static void sift_up(const Merge *merge, size_t at, Key key)
{
    Key *heap = merge->heap;
    for (; at > 0 && before(merge, &key, &heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = key;
}

/* Puts the key into the heap, whose first place is free. Mostly it belongs far down, as all other
 * runs have had no turn since; so the place goes down without asking where the key belongs. */
static void replace_first(const Merge *merge, Key key)
{
    Key *heap = merge->heap;
    const size_t n = merge->n_runs;
    if (n > 2) {
        size_t first = 1 + before(merge, &heap[2], &heap[1]);
        if (before(merge, &key, &heap[first])) { /* a burst */
            heap[0] = key;
            return;
        }
    }
    size_t at = 0, child = 1;
    for (; child + 1 < n; child = 2 * at + 1) {
        size_t next = child + before(merge, &heap[child + 1], &heap[child]);
        heap[at] = heap[next];
        at = next;
    }
    if (child < n) { /* alone, below the last that has two */
        heap[at] = heap[child];
        at = child;
    }
    sift_up(merge, at, key);
}

static void grow(Merge *merge)
{
    size_t old = merge->capacity;
    merge->capacity = MAX(64, old * 2);
    merge->heap = g_renew(Key, merge->heap, merge->capacity);
    merge->runs = g_renew(Run, merge->runs, merge->capacity);
    for (size_t i = merge->capacity; i-- > old; merge->free_run = (uint32_t)i)
        merge->runs[i].next_free = merge->free_run;
}

/* Takes over the caller's reference of the buffer. `time_ns`: of the run's first packet. */
static void heap_add(Merge *merge, const Run *run, uint64_t time_ns)
{
    if (merge->n_runs == merge->capacity)
        grow(merge);
    Key key = {time_ns, merge->free_run};
    merge->free_run = merge->runs[key.run].next_free;
    merge->runs[key.run] = *run;
    sift_up(merge, merge->n_runs++, key);
}

/* The buffer's reference goes to the caller. */
static void remove_first(Merge *merge)
{
    uint32_t run = merge->heap[0].run;
    merge->runs[run].next_free = merge->free_run;
    merge->free_run = run;
    if (--merge->n_runs)
        replace_first(merge, merge->heap[merge->n_runs]);
}

static inline uint64_t block_time(const uint8_t *block)
{
    return load_time(block + 12, false);
}

static inline uint32_t block_length(const uint8_t *block)
{
    return load32(block + 4, false);
}

uint32_t merge_push(Merge *merge, uint32_t stream, MergeBuffer *buffer, size_t offset,
                    size_t length, bool (*check)(uint32_t interface_id, void *userdata),
                    void *userdata, uint64_t now_ns, int *ret_error)
{
    buffer->merge = merge;
    buffer->stream = stream;
    buffer->arrived_ns = now_ns;
    merge->held_bytes += buffer->length;
    merge->streams[stream].held_bytes += buffer->length;
    merge->streams[stream].held++;

    *ret_error = 0;
    Run run = {.buffer = buffer, .offset = (uint32_t)offset, .end = (uint32_t)offset};
    uint32_t count = 0;
    uint64_t previous = 0, time_ns = 0;
    for (const size_t end = offset + length; offset < end;) {
        PcapngPacket packet;
        const uint8_t *options;
        uint32_t options_length;
        int size = pcapng_packet_parse(buffer->data + offset, end - offset, &packet, &options,
                                       &options_length);
        *ret_error = size < 0 ? size : check(packet.interface_id, userdata) ? 0 : -ENOENT;
        if (*ret_error)
            break;
        if (count && packet.time_ns < previous) {
            merge_buffer_ref(buffer);
            heap_add(merge, &run, time_ns);
            run.offset = (uint32_t)offset;
        }
        if (run.offset == offset) {
            time_ns = packet.time_ns;
            run.order = merge->order++;
        }
        previous = packet.time_ns;
        offset += (size_t)size;
        run.end = (uint32_t)offset;
        count++;
    }
    merge->held_packets += count;
    if (count)
        heap_add(merge, &run, time_ns);
    else
        merge_buffer_unref(buffer);
    return count;
}

static void take_first(Merge *merge, MergePacket *ret)
{
    Key first = merge->heap[0];
    Run *run = &merge->runs[first.run];
    const uint8_t *block = run->buffer->data + run->offset;
    *ret = (MergePacket){
        .time_ns = first.time_ns,
        .buffer = run->buffer,
        .block = block,
        .length = block_length(block),
        .stream = run->buffer->stream,
        .late = first.time_ns < merge->newest_out_ns,
    };
    merge->newest_out_ns = MAX(merge->newest_out_ns, first.time_ns);
    merge->held_packets--;
    run->offset += ret->length;
    if (run->offset == run->end) {
        remove_first(merge);
        return;
    }
    merge_buffer_ref(run->buffer);
    const uint8_t *next = block + ret->length;
    first.time_ns = block_time(next);
    /* By the time it is this run's turn again, the caches have seen many others. */
    const uint8_t *after_next = next + block_length(next);
    __builtin_prefetch(after_next);
    __builtin_prefetch(after_next + 64);
    __builtin_prefetch(after_next + 128);
    replace_first(merge, first);
}

bool merge_pop(Merge *merge, MergePacket *ret)
{
    if (!merge->n_runs)
        return false;
    const Key *first = &merge->heap[0];
    bool due = first->time_ns <= merge->frontier_ns;
    if (!due && merge->now_ns < merge->runs[first->run].buffer->arrived_ns + merge->max_wait_ns)
        return false;
    take_first(merge, ret);
    ret->forced = !due;
    return true;
}

bool merge_pop_forced(Merge *merge, MergePacket *ret)
{
    if (!merge->n_runs)
        return false;
    take_first(merge, ret);
    ret->forced = true;
    return true;
}

/* ---- Answers ---------------------------------------------------------------------------------*/

uint64_t merge_frontier(const Merge *merge)
{
    return merge->frontier_ns;
}

bool merge_stalled(const Merge *merge, uint32_t stream)
{
    return merge->streams[stream].stalled;
}

uint64_t merge_stalls(const Merge *merge, uint32_t stream)
{
    return merge->streams[stream].stalls;
}

bool merge_wants(const Merge *merge, uint32_t stream)
{
    const MergeStream *s = &merge->streams[stream];
    return s->held_bytes <= merge->memory_limit / merge->n_used || s->stalled ||
           s->watermark_ns <= merge->frontier_ns;
}

bool merge_over_limit(const Merge *merge)
{
    return merge->held_bytes > merge->memory_limit;
}

uint64_t merge_held_bytes(const Merge *merge)
{
    return merge->held_bytes;
}

uint64_t merge_held_packets(const Merge *merge)
{
    return merge->held_packets;
}
