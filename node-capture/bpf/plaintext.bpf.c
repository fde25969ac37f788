/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* Takes what processes read from TLS connections and write to them. Functions of C libraries are
 * probed where they are entered and where they return, so that what was not done is not told; Go's,
 * which must have nothing on a return address, within. Which socket a connection has is seen when
 * its thread uses one meanwhile. docs/tls.md tells more. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <stdbool.h>

#include "node-capture/bpf/kernel.bpf.h"
#include "node-capture/bpf/plaintext.h"
#include "node-capture/bpf/sessions.bpf.h"
#include "node-capture/tls/point-kinds.h"

#define PAGE_BYTES   4096 /* the smallest */
#define FAMILY_IPV4  2
#define FAMILY_IPV6  10
#define PROTOCOL_TCP 6
#define CALLS_MAX \
    4 /* of a thread, one within another: TLS in TLS, and functions that call others */
#define TAKE_REST        2 /* TlsTake of tls/keys.h */
#define TAKE_EVERY       4
#define APPLICATION_DATA 23          /* RFC 8446, 5.1 */
#define UNSEEN_MAX       (1ll << 40) /* bytes of one call: more is not believed */

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, PLAINTEXT_RING_BYTES);
} events SEC(".maps");

/* By inode. A probe is in a file and fires in every container that shares it. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, PLAINTEXT_NAMESPACES);
    __type(key, __u32);
    __type(value, struct plaintext_wanted);
} namespaces SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, PLAINTEXT_CONNECTIONS);
    __type(key, struct tls_session);
    __type(value, struct plaintext_connection);
} connections SEC(".maps");

/* Processes that have connections that were told of. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, PLAINTEXT_CONNECTIONS);
    __type(key, __u32);
    __type(value, __u8);
} processes SEC(".maps");

/* A call that has not returned. */
struct call {
    __u64 session, buffer, length; /* the last one as it was asked for */
    __u64 count_at; /* where the number of bytes will be written, if it is not returned */
    __u64 stack;    /* the stack pointer behind the return */
    __u32 kind;
    bool is_inner;    /* of a function that another one calls for the same session */
    bool used_socket; /* meanwhile */
};

struct thread {
    __u32 depth;
    struct call calls[CALLS_MAX];
};

struct {
    __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct thread);
} threads SEC(".maps");

__u64 last_connection = 0;
__u64 taken = 0;      /* bytes */
__u64 passed = 0;     /* calls in network namespaces of no target */
__u64 lost = 0;       /* bytes that found no room */
__u64 unreadable = 0; /* bytes that could not be read */

/* ---- Whose ---------------------------------------------------------------------------------- */

static __always_inline struct task_struct *current_task(void)
{
    return (struct task_struct *)bpf_get_current_task();
}

static __always_inline __u32 current_pid(void)
{
    return (__u32)(bpf_get_current_pid_tgid() >> 32);
}

static __always_inline __u32 current_netns(void)
{
    return BPF_CORE_READ(current_task(), nsproxy, net_ns, ns.inum);
}

static __always_inline const struct plaintext_wanted *wanted(__u32 netns)
{
    return bpf_map_lookup_elem(&namespaces, &netns);
}

static __always_inline __u64 secrets_ns(const struct tls_session *key)
{
    const struct tls_told *told = bpf_map_lookup_elem(&told_sessions, key);
    return told ? told->time_ns : 0;
}

/* To wake the reader costs more than all else that a hook does. */
static __always_inline __u64 how_to_submit(void)
{
    return bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA) > PLAINTEXT_WAKE_BYTES
               ? BPF_RB_FORCE_WAKEUP
               : BPF_RB_NO_WAKEUP;
}

/* ---- Connections ---------------------------------------------------------------------------- */

static __always_inline void tell(__u8 kind, const struct tls_session *key, __u64 connection)
{
    struct plaintext_event *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
    if (!event) {
        return; /* user space finds out when it misses the process */
    }
    __builtin_memset(event, 0, sizeof(*event));
    event->time_ns = bpf_ktime_get_ns();
    event->connection = connection;
    event->session = key->session;
    event->pid = key->pid;
    event->kind = kind;
    bpf_ringbuf_submit(event, how_to_submit());
}

static __noinline int end(const struct tls_session *key)
{
    if (!key) {
        return 0;
    }
    const struct tls_session copy = *key;
    struct plaintext_connection *connection = bpf_map_lookup_elem(&connections, &copy);
    bpf_map_delete_elem(&told_sessions, &copy);
    if (connection) {
        if (connection->flags & PLAINTEXT_TOLD) {
            tell(PLAINTEXT_END, &copy, connection->id);
        }
        bpf_map_delete_elem(&connections, &copy);
    }
    return 0;
}

static __always_inline struct plaintext_connection *find_or_begin(const struct tls_session *key)
{
    struct plaintext_connection *found = bpf_map_lookup_elem(&connections, key);
    if (found) {
        return found;
    }
    struct plaintext_connection fresh = {.id = __sync_fetch_and_add(&last_connection, 1) + 1};
    bpf_map_update_elem(&connections, key, &fresh, BPF_ANY);
    return bpf_map_lookup_elem(&connections, key);
}

static __always_inline void begin(const struct tls_session *key, __u64 flags)
{
    end(key);
    struct plaintext_connection *connection = find_or_begin(key);
    if (connection) {
        connection->flags = PLAINTEXT_FROM_START | flags;
    }
}

/* OpenSSL sets the role, and then begins with SSL_clear(). */
static __always_inline __u64 role_of(const struct tls_session *key)
{
    const struct plaintext_connection *connection = bpf_map_lookup_elem(&connections, key);
    return connection ? connection->flags & (PLAINTEXT_CLIENT | PLAINTEXT_SERVER) : 0;
}

static __always_inline void set_role(const struct tls_session *key, __u64 role)
{
    struct plaintext_connection *connection = find_or_begin(key);
    if (connection) {
        connection->flags =
            (connection->flags & ~(__u64)(PLAINTEXT_CLIENT | PLAINTEXT_SERVER)) | role;
    }
}

/* ---- Sockets -------------------------------------------------------------------------------- */

static __always_inline void set_socket(struct plaintext_connection *connection, struct sock *sk)
{
    struct sock_common *common = &sk->__sk_common;
    struct plaintext_socket *socket = &connection->socket;
    __u16 family = BPF_CORE_READ(common, skc_family);
    if (family == FAMILY_IPV6) {
        BPF_CORE_READ_INTO(&socket->local, common, skc_v6_rcv_saddr);
        BPF_CORE_READ_INTO(&socket->remote, common, skc_v6_daddr);
    } else if (family == FAMILY_IPV4) {
        BPF_CORE_READ_INTO((__be32 *)socket->local, common, skc_rcv_saddr);
        BPF_CORE_READ_INTO((__be32 *)socket->remote, common, skc_daddr);
    } else {
        return;
    }
    socket->remote_port = bpf_ntohs(BPF_CORE_READ(common, skc_dport));
    socket->local_port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
    socket->family = socket->remote_port ? family : 0;
}

static __always_inline bool has_socket(const struct plaintext_connection *connection)
{
    return connection->socket.family && connection->socket.family != PLAINTEXT_BY_RANDOM;
}

/* Where the library only gets memory, user space joins it with ClientHellos. It stands in the
 * session from the handshake on, which is over, or in its early data, when bytes come. */
static __always_inline void find_random(const struct tls_session *key,
                                        struct plaintext_connection *connection, __u64 cookie)
{
    __u32 steps = cookie >> PLAINTEXT_STEPS_SHIFT & PLAINTEXT_STEPS_MAX;
    __u64 at = key->session;
    if (!steps || connection->socket.family) {
        return;
    }
    for (__u32 i = 0; i < PLAINTEXT_STEPS_MAX; i++) {
        if (i >= steps) {
            break;
        }
        at += cookie >> (PLAINTEXT_OFFSET_SHIFT + PLAINTEXT_OFFSET_BITS * i) & 0xffff;
        if (i + 1 < steps && bpf_copy_from_user(&at, sizeof(at), (void *)at)) {
            return;
        }
    }
    __u8 random[sizeof(connection->socket.random)];
    /* Another thread may have seen the socket while this one slept. */
    if (!bpf_copy_from_user(random, sizeof(random), (void *)at) && !connection->socket.family) {
        __builtin_memcpy(connection->socket.random, random, sizeof(random));
        connection->socket.family = PLAINTEXT_BY_RANDOM;
    }
}

static __always_inline int on_socket(struct sock *sk)
{
    struct thread *thread = bpf_task_storage_get(&threads, bpf_get_current_task_btf(), 0, 0);
    if (!thread || !thread->depth || !sk || sk->sk_protocol != PROTOCOL_TCP) {
        return 0;
    }
    struct call *call = &thread->calls[(thread->depth - 1) & (CALLS_MAX - 1)];
    struct tls_session key = {.session = call->session, .pid = current_pid()};
    struct plaintext_connection *connection = bpf_map_lookup_elem(&connections, &key);
    call->used_socket = true;
    if (connection && !has_socket(connection)) {
        set_socket(connection, sk);
    }
    return 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(on_send, struct sock *sk, int result, int flags)
{
    return on_socket(sk);
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(on_receive, struct sock *sk, int result, int flags)
{
    return on_socket(sk);
}

/* ---- Bytes ---------------------------------------------------------------------------------- */

#include "node-capture/bpf/plaintext-copy.bpf.h"

/* Who joined after the secrets were told has none of them. */
static __always_inline bool is_wanted(const struct plaintext_wanted *which, __u64 told_ns)
{
    return which->take & TAKE_EVERY ||
           (which->take & TAKE_REST && (!told_ns || told_ns < which->rest_since_ns));
}

/* Not static: so it is verified once, and not for each place that calls it. */
__noinline int take(const struct tls_session *of, __u8 direction, __u64 buffer, __u64 length,
                    __u64 cookie)
{
    if (!of) {
        return 0;
    }
    const struct tls_session copied = *of, *key = &copied;
    __u32 netns = current_netns();
    const struct plaintext_wanted *which = wanted(netns);
    struct plaintext_connection *connection = find_or_begin(key);
    if (!which || !connection) {
        return 0;
    }
    __u64 before = __sync_fetch_and_add(&connection->offsets[direction & 1], length);
    __u64 told_ns = secrets_ns(key), skipped = (__u64)PLAINTEXT_SKIPPED << (direction & 1);
    if (!is_wanted(which, told_ns)) {
        connection->flags = (connection->flags | skipped) & ~(__u64)PLAINTEXT_FROM_START;
        return 0;
    }
    __u8 flags = connection->flags & (PLAINTEXT_FROM_START | PLAINTEXT_CLIENT | PLAINTEXT_SERVER);
    flags |= connection->flags & skipped ? PLAINTEXT_SKIPPED : 0;
    connection->flags &= ~skipped;
    find_random(key, connection, cookie);
    if (!(connection->flags & PLAINTEXT_TOLD)) {
        __u8 one = 1;
        bpf_map_update_elem(&processes, &key->pid, &one, BPF_ANY);
        connection->flags |= PLAINTEXT_TOLD;
    }
    struct copy copy = {
        .from = buffer,
        .left = length,
        .event = {.time_ns = bpf_ktime_get_ns(),
                  .connection = connection->id,
                  .session = key->session,
                  .offset = before,
                  .secrets_ns = told_ns,
                  .netns = netns,
                  .pid = key->pid,
                  .kind = PLAINTEXT_DATA,
                  .direction = direction,
                  .flags = flags,
                  .socket = connection->socket},
    };
    bpf_loop((__u32)((length + PLAINTEXT_CHUNK - 1) / PLAINTEXT_CHUNK), on_chunk, &copy, 0);
    return 0;
}

/* Bytes that cannot be taken: those behind them show the hole. */
static __always_inline void pass_by(const struct tls_session *key, __u8 direction, __s64 length)
{
    struct plaintext_connection *connection = bpf_map_lookup_elem(&connections, key);
    if (!connection || length <= 0 || length > UNSEEN_MAX) {
        return;
    }
    __sync_fetch_and_add(&connection->offsets[direction & 1], length);
    const struct plaintext_wanted *which = wanted(current_netns());
    if (which && is_wanted(which, secrets_ns(key))) {
        __sync_fetch_and_add(&unreadable, length);
    }
}

/* ---- Functions of C libraries --------------------------------------------------------------- */

static __always_inline bool is_read(__u32 kind)
{
    return kind == TLS_POINT_READ || kind == TLS_POINT_READ_EX || kind == TLS_POINT_RECV ||
           kind == TLS_POINT_UNSEEN_READ;
}

static __always_inline bool is_write(__u32 kind)
{
    return kind == TLS_POINT_WRITE || kind == TLS_POINT_WRITE_EX || kind == TLS_POINT_WRITE_EX2 ||
           kind == TLS_POINT_WRITEV || kind == TLS_POINT_UNSEEN_WRITE;
}

/* Where the stack pointer is when the function has returned. */
static __always_inline __u64 stack_behind(struct pt_regs *context)
{
#ifdef bpf_target_x86
    return PT_REGS_SP(context) + 8;
#else
    return PT_REGS_SP(context);
#endif
}

/* Calls that were left by other ways than a return are below the stack pointer. */
static __always_inline void forget_left(struct thread *thread, __u64 stack)
{
    for (int i = 0; i < CALLS_MAX; i++) {
        __u32 depth = thread->depth;
        if (depth == 0 || thread->calls[(depth - 1) & (CALLS_MAX - 1)].stack >= stack) {
            return;
        }
        thread->depth = depth - 1;
    }
}

static __always_inline void push(struct pt_regs *context, __u32 kind, __u64 session)
{
    struct thread *thread = bpf_task_storage_get(&threads, bpf_get_current_task_btf(), 0,
                                                 BPF_LOCAL_STORAGE_GET_F_CREATE);
    if (!thread) {
        return;
    }
    __u64 stack = stack_behind(context);
    __u64 third = PT_REGS_PARM3(context), fourth = PT_REGS_PARM4(context),
          fifth = PT_REGS_PARM5(context);
    asm volatile("" : "+r"(third), "+r"(fourth), "+r"(fifth)); /* lest one read be made of all */
    forget_left(thread, stack);
    if (thread->depth >= CALLS_MAX) {
        return;
    }
    bool is_inner = false;
    if (thread->depth) {
        const struct call *outer = &thread->calls[(thread->depth - 1) & (CALLS_MAX - 1)];
        is_inner = outer->session == session && ((is_read(kind) && is_read(outer->kind)) ||
                                                 (is_write(kind) && is_write(outer->kind)));
    }
    struct call *call = &thread->calls[thread->depth & (CALLS_MAX - 1)];
    *call = (struct call){
        .session = session,
        .buffer = PT_REGS_PARM2(context),
        .length = third,
        .count_at = kind == TLS_POINT_WRITE_EX2 ? fifth : fourth,
        .stack = stack,
        .kind = kind,
        .is_inner = is_inner,
    };
    thread->depth++;
}

#include "node-capture/bpf/plaintext-nss.bpf.h"

static __always_inline int on_enter(struct pt_regs *context)
{
    __u64 cookie = bpf_get_attach_cookie(context);
    __u32 kind = (__u32)cookie & PLAINTEXT_KIND;
    if (!wanted(current_netns())) {
        __sync_fetch_and_add(&passed, 1);
        return 0;
    }
    struct tls_session key = {.session = PT_REGS_PARM1(context), .pid = current_pid()};
    if (kind == TLS_POINT_NEW || kind == TLS_POINT_NEW_AT) {
        push(context, kind, key.session);
        return 0;
    }
    key.session = session_of(key.session, cookie);
    switch (kind) {
    case TLS_POINT_BEGIN:
        begin(&key, role_of(&key));
        return 0;
    case TLS_POINT_END:
        end(&key);
        return 0;
    case TLS_POINT_CLIENT:
        set_role(&key, PLAINTEXT_CLIENT);
        return 0;
    case TLS_POINT_SERVER:
        set_role(&key, PLAINTEXT_SERVER);
        return 0;
    case TLS_POINT_ROLE:
        set_role_of_known(&key, (int)PT_REGS_PARM2(context) ? PLAINTEXT_SERVER : PLAINTEXT_CLIENT);
        return 0;
    case TLS_POINT_RECV:
        if (PT_REGS_PARM4(context) & PEEK) {
            return 0;
        }
        break;
    }
    find_or_begin(&key);
    push(context, kind, key.session);
    return 0;
}

static __always_inline bool pop(struct thread *thread, __u32 kind, __u64 stack, struct call *ret)
{
    forget_left(thread, stack);
    if (thread->depth == 0) {
        return false;
    }
    const struct call *call = &thread->calls[(thread->depth - 1) & (CALLS_MAX - 1)];
    if (call->stack != stack || call->kind != kind) {
        return false;
    }
    *ret = *call;
    thread->depth--;
    return true;
}

/* What was seen from within a handshake was seen from its first byte on. */
static __always_inline void on_handshake_done(const struct tls_session *key,
                                              const struct call *call, int result)
{
    struct plaintext_connection *connection = bpf_map_lookup_elem(&connections, key);
    if (connection && !connection->offsets[0] && !connection->offsets[1] &&
        (call->used_socket || result <= 0)) {
        connection->flags |= PLAINTEXT_FROM_START;
    }
}

static __always_inline __u64 count_of(const struct call *call, int result)
{
    __u64 count = 0;
    if (result <= 0) {
        return 0;
    }
    if (call->kind == TLS_POINT_READ || call->kind == TLS_POINT_WRITE ||
        call->kind == TLS_POINT_RECV || call->kind == TLS_POINT_WRITEV) {
        return (__u64)result;
    }
    bpf_copy_from_user(&count, sizeof(count), (void *)call->count_at);
    return count < call->length ? count : call->length; /* it may say anything */
}

static __always_inline int on_leave(struct pt_regs *context)
{
    __u64 cookie = bpf_get_attach_cookie(context);
    __u32 kind = (__u32)cookie & PLAINTEXT_KIND;
    struct thread *thread = bpf_task_storage_get(&threads, bpf_get_current_task_btf(), 0, 0);
    struct call call;
    if (!thread || !pop(thread, kind, PT_REGS_SP(context), &call)) {
        return 0;
    }
    struct tls_session key = {.session = call.session, .pid = current_pid()};
    int result = (int)PT_REGS_RC(context);
    if (kind == TLS_POINT_NEW) {
        key.session = PT_REGS_RC(context);
        key.session = key.session ? session_of(key.session, cookie) : 0;
        if (key.session) {
            begin(&key, 0);
        }
    } else if (kind == TLS_POINT_NEW_AT) {
        __u64 role = call.buffer & 1 ? PLAINTEXT_SERVER : PLAINTEXT_CLIENT;
        if (result == 0 &&
            bpf_copy_from_user(&key.session, sizeof(key.session), (void *)call.session) == 0) {
            begin(&key, role);
        }
    } else if (kind == TLS_POINT_HANDSHAKE) {
        on_handshake_done(&key, &call, result);
    } else if (kind == TLS_POINT_UNSEEN_READ || kind == TLS_POINT_UNSEEN_WRITE) {
        pass_by(&key, is_read(kind) ? PLAINTEXT_READ : PLAINTEXT_WRITTEN, PT_REGS_RC(context));
    } else if (!call.is_inner) {
        __u64 count = count_of(&call, result);
        if (count && kind == TLS_POINT_WRITEV) {
            take_vectors(&key, &call, count, cookie);
        } else if (count) {
            take(&key, is_read(kind) ? PLAINTEXT_READ : PLAINTEXT_WRITTEN, call.buffer, count,
                 cookie);
        }
    }
    return 0;
}

#include "node-capture/bpf/plaintext-golang.bpf.h"

/* What several probes hang on at once (Linux 6.6), and what hangs on one. */
SEC("uprobe.s")
int on_enter_multi(struct pt_regs *context)
{
    return on_enter(context);
}

SEC("uprobe.s")
int on_enter_single(struct pt_regs *context)
{
    return on_enter(context);
}

SEC("uretprobe.s")
int on_leave_multi(struct pt_regs *context)
{
    return on_leave(context);
}

SEC("uretprobe.s")
int on_leave_single(struct pt_regs *context)
{
    return on_leave(context);
}

SEC("uprobe.s")
int on_go_multi(struct pt_regs *context)
{
    return on_go_point(context);
}

SEC("uprobe.s")
int on_go_single(struct pt_regs *context)
{
    return on_go_point(context);
}

/* ---- Processes ------------------------------------------------------------------------------ */

static __always_inline int on_gone(struct task_struct *task)
{
    struct tls_session key = {.pid = (__u32)task->tgid};
    if (bpf_map_lookup_elem(&processes, &key.pid)) {
        bpf_map_delete_elem(&processes, &key.pid);
        tell(PLAINTEXT_EXIT, &key, 0);
    }
    return 0;
}

/* The kernel counts `live` down before this. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
    return task->signal->live.counter == 0 ? on_gone(task) : 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task)
{
    return on_gone(task);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
