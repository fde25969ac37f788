/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* What the program that takes secrets and the one that takes plaintext know together. Both name
 * these maps; user space makes them one. */
#pragma once

#include "node-capture/bpf/tls.h"

/* Sessions whose secrets were told. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, TLS_SESSIONS);
    __type(key, struct tls_session);
    __type(value, struct tls_told);
} told_sessions SEC(".maps");

/* Go: goroutines (as sessions) and the connection that each makes a handshake for, as its key-log
 * function does not get it. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, TLS_SESSIONS);
    __type(key, struct tls_session);
    __type(value, __u64);
} handshakes SEC(".maps");
