// SPDX-License-Identifier: GPL-2.0-or-later
/* A program that from now on may only do what a TLS client needs: any other system call kills it.
 */
#pragma once

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define ALLOW(name)                                         \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1), \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static inline void be_strict(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(brk),
        ALLOW(close),
        ALLOW(connect),
        ALLOW(exit_group),
        ALLOW(futex),
        ALLOW(getpid),
        ALLOW(getrandom),
        ALLOW(lseek),
        ALLOW(mmap),
        ALLOW(mprotect),
        ALLOW(munmap),
        ALLOW(newfstatat),
        ALLOW(openat),
        ALLOW(read),
        ALLOW(recvfrom),
        ALLOW(recvmsg),
        ALLOW(sendmsg),
        ALLOW(sendto),
        ALLOW(setsockopt),
        ALLOW(socket),
        ALLOW(write),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]), filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
        perror("seccomp");
        exit(1);
    }
}
