/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The part of plaintext.bpf.c, in whose middle it stands, for NSS, whose programs read and write by
 * NSPR's descriptors (prio.h). */
#pragma once

#define VECTORS_MAX 16 /* PR_MAX_IOVECTOR_SIZE */
#define PEEK        2  /* PR_MSG_PEEK */

/* NSPR's descriptors change places when a layer is pushed on one; what they lead to stays. */
static __always_inline __u64 session_of(__u64 argument, __u64 cookie)
{
    __u64 session = 0;
    if (!(cookie & PLAINTEXT_BY_DESCRIPTOR)) {
        return argument;
    }
    bpf_copy_from_user(&session, sizeof(session), (void *)(argument + sizeof(session)));
    return session;
}

/* A descriptor with another layer on it leads elsewhere. */
static __always_inline void set_role_of_known(const struct tls_session *key, __u64 role)
{
    if (bpf_map_lookup_elem(&connections, key)) {
        set_role(key, role);
    }
}

struct vectors {
    struct tls_session key;
    __u64 at, left, cookie;
};

struct vector { /* PRIOVec of NSPR's prio.h */
    __u64 base;
    __s32 length;
    __u32 spare;
};

static long on_vector(__u32 number, struct vectors *vectors)
{
    struct vector vector = {0};
    if (!vectors->left || bpf_copy_from_user(&vector, sizeof(vector), (void *)vectors->at)) {
        return 1;
    }
    __u64 length = vector.length > 0 ? (__u64)vector.length : 0;
    length = length < vectors->left ? length : vectors->left;
    if (length) {
        take(&vectors->key, PLAINTEXT_WRITTEN, vector.base, length, vectors->cookie);
    }
    vectors->at += sizeof(vector);
    vectors->left -= length;
    return 0;
}

/* What could not be read of them is a hole. */
static __always_inline void take_vectors(const struct tls_session *key, const struct call *call,
                                         __u64 count, __u64 cookie)
{
    struct vectors vectors = {.key = *key, .at = call->buffer, .left = count, .cookie = cookie};
    bpf_loop(call->length < VECTORS_MAX ? (__u32)call->length : VECTORS_MAX, on_vector, &vectors,
             0);
    pass_by(key, PLAINTEXT_WRITTEN, (__s64)vectors.left);
}
