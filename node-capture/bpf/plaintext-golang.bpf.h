/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The part of plaintext.bpf.c, in whose middle it stands, for Go's crypto/tls. */
#pragma once

#ifdef bpf_target_x86

/* Arguments are words of the stack, or registers: rax, rbx, rcx, rdi. */
static __always_inline __u64 on_stack(struct pt_regs *context, __u32 offset)
{
    __u64 value = 0;
    bpf_copy_from_user(&value, sizeof(value), (void *)(PT_REGS_SP(context) + offset));
    return value;
}

/* Connection -> *net.TCPConn -> *netFD: internal/poll.FD {mutex 16 bytes, Sysfd, ...}, then family
 * and type of the socket, by which it is known to be one. A connection over something else has no
 * such thing there. */
static __always_inline void find_go_socket(const struct tls_session *key)
{
    struct plaintext_connection *connection = find_or_begin(key);
    __u64 tcp = 0, net = 0, number = 0, kind[2] = {0};
    if (!connection || connection->socket.family ||
        bpf_copy_from_user(&tcp, 8, (void *)(key->session + 8)) ||
        bpf_copy_from_user(&net, 8, (void *)tcp) ||
        bpf_copy_from_user(&number, 8, (void *)(net + 16)) ||
        bpf_copy_from_user(kind, 16, (void *)(net + 56)) || kind[1] != 1 /* SOCK_STREAM */) {
        return;
    }
    struct fdtable *table = BPF_CORE_READ(current_task(), files, fdt);
    struct file **files = BPF_CORE_READ(table, fd), *file = 0;
    if (number >= BPF_CORE_READ(table, max_fds)) {
        return;
    }
    bpf_probe_read_kernel(&file, sizeof(file), files + number);
    if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & 0170000) != 0140000 /* S_IFSOCK */) {
        return;
    }
    struct socket *socket = BPF_CORE_READ(file, private_data);
    struct sock *sk = BPF_CORE_READ(socket, sk);
    if (kind[0] == BPF_CORE_READ(sk, __sk_common.skc_family) &&
        BPF_CORE_READ(sk, sk_protocol) == PROTOCOL_TCP) {
        set_socket(connection, sk);
    }
}

static __always_inline void go_begin(struct pt_regs *context, const struct tls_session *key,
                                     __u64 role)
{
    struct tls_session goroutine = {.session = context->r14, .pid = key->pid};
    begin(key, role);
    bpf_map_update_elem(&handshakes, &goroutine, &key->session, BPF_ANY);
}

static __always_inline int on_go_point(struct pt_regs *context)
{
    __u64 cookie = bpf_get_attach_cookie(context);
    bool stack = cookie & PLAINTEXT_ON_STACK;
    if (!wanted(current_netns())) {
        __sync_fetch_and_add(&passed, 1);
        return 0;
    }
    __u32 kind = cookie & PLAINTEXT_KIND;
    struct tls_session key = {.pid = current_pid()};
    key.session = stack || kind == TLS_POINT_GO_READ ? on_stack(context, 8) : context->rax;
    if (kind == TLS_POINT_GO_CLIENT) {
        go_begin(context, &key, PLAINTEXT_CLIENT);
    } else if (kind == TLS_POINT_GO_SERVER) {
        go_begin(context, &key, PLAINTEXT_SERVER);
    } else if (kind == TLS_POINT_GO_END) {
        end(&key);
    } else if (kind == TLS_POINT_GO_WRITE) {
        __u8 type = (__u8)(stack ? on_stack(context, 16) : context->rbx);
        __u64 buffer = stack ? on_stack(context, 24) : context->rcx;
        __u64 length = stack ? on_stack(context, 32) : context->rdi;
        if (type == APPLICATION_DATA && (__s64)length > 0) {
            find_go_socket(&key);
            take(&key, PLAINTEXT_WRITTEN, buffer, length, 0);
        }
    } else if (kind == TLS_POINT_GO_READ) {
        __u64 length = stack ? on_stack(context, 40) : context->rax;
        if ((__s64)length > 0) {
            find_go_socket(&key);
            take(&key, PLAINTEXT_READ, on_stack(context, 16), length, 0);
        }
    }
    return 0;
}

#else

static __always_inline int on_go_point(struct pt_regs *context)
{
    return 0;
}

#endif
