/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Copies of sessions, for user space to find where they keep the client random. Part of tls.bpf.c.
 */
#pragma once

#define READ_AT_ONCE 256 /* so that the end of a mapping costs no more */

struct tls_sample samples[TLS_SAMPLING * TLS_SAMPLES_EACH] = {};

/* One for a connection: when its client random is known, and never twice at once. */
static __always_inline bool is_time(void *context, const struct tls_probe *probe)
{
    char label[8] = {0};
    bpf_probe_read_user(label, sizeof(label), (void *)value_of(context, probe, &probe->label));
    /* CLIENT_RANDOM, CLIENT_HANDSHAKE_TRAFFIC_SECRET */
    return label[0] == 'C' && (label[7] == 'R' || label[7] == 'H');
}

static __always_inline struct tls_sample *claim(const struct tls_probe *probe)
{
    __u32 first = (probe->sampling - 1) * TLS_SAMPLES_EACH;
    for (__u32 i = 0; i < TLS_SAMPLES_EACH; i++) {
        __u32 number = first + i;
        if (number >= TLS_SAMPLING * TLS_SAMPLES_EACH) {
            break;
        }
        if (__sync_val_compare_and_swap(&samples[number].state, TLS_SAMPLE_FREE,
                                        TLS_SAMPLE_FILLING) == TLS_SAMPLE_FREE) {
            return &samples[number];
        }
    }
    return 0;
}

static __always_inline bool may_be_pointer(__u64 value)
{
    return value >= 65536 && value >> 48 == 0 && (value & 7) == 0;
}

/* What is counted in memory, and not in a register, is one state for the verifier and not many. */
static __always_inline void find_pointers(struct tls_sample *sample)
{
    volatile __u32 *n_pointers = &sample->n_pointers;
    *n_pointers = 0;
    for (__u32 at = 0; at < TLS_OBJECT_BYTES; at += sizeof(__u64)) {
        __u32 count = *n_pointers;
        if (count >= TLS_POINTERS) {
            break;
        }
        if (may_be_pointer(*(__u64 *)(sample->object + at))) {
            sample->places[count] = (__u16)at;
            *n_pointers = count + 1;
        }
    }
}

static __always_inline void follow_pointers(struct tls_sample *sample)
{
    for (__u32 i = 0; i < TLS_POINTERS; i++) {
        __u32 at = sample->places[i];
        if (i >= sample->n_pointers || at > TLS_OBJECT_BYTES - sizeof(__u64)) {
            break;
        }
        __u64 pointer = *(__u64 *)(sample->object + at);
        for (__u32 part = 0; part < TLS_POINTED_BYTES; part += READ_AT_ONCE) {
            bpf_probe_read_user(sample->pointed[i] + part, READ_AT_ONCE, (void *)(pointer + part));
        }
    }
}

static __noinline int sample(void *context, const struct tls_probe *probe, __u64 cookie,
                             __u32 netns)
{
    if (!is_time(context, probe)) {
        return 0;
    }
    struct tls_sample *sample = claim(probe);
    if (!sample) {
        return 0;
    }
    __u64 session = value_of(context, probe, &probe->session);
    sample->time_ns = bpf_ktime_get_ns();
    sample->probe = cookie;
    sample->netns = netns;
    for (__u32 part = 0; part < TLS_OBJECT_BYTES; part += READ_AT_ONCE) {
        bpf_probe_read_user(sample->object + part, READ_AT_ONCE, (void *)(session + part));
    }
    find_pointers(sample);
    follow_pointers(sample);
    __sync_val_compare_and_swap(&sample->state, TLS_SAMPLE_FILLING, TLS_SAMPLE_FULL);
    return 0;
}
