/* SPDX-License-Identifier: GPL-2.0-or-later OR BSD-2-Clause */
/* The members of kernel structures that our programs read, found at load time by the kernel's BTF
 * (CO-RE), in whatever order and place they are. */
#pragma once

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
    int counter;
} atomic_t;

struct signal_struct {
    atomic_t live;
};

struct ns_common {
    unsigned int inum;
};

struct net {
    struct ns_common ns;
};

struct nsproxy {
    struct net *net_ns;
};

struct kernfs_node {
    struct kernfs_node *__parent;
    const char *name;
    __u64 id;
};

/* Until Linux 6.14. */
struct kernfs_node___before_rcu {
    struct kernfs_node *parent;
};

struct cgroup_root {
    int hierarchy_id;
};

struct cgroup {
    struct cgroup_root *root;
    struct kernfs_node *kn;
};

struct cgroup_subsys_state {
    struct cgroup *cgroup;
};

struct list_head {
    struct list_head *next;
};

struct css_set {
    struct cgroup_subsys_state *subsys[1];
    struct cgroup *dfl_cgrp;
    struct list_head cgrp_links; /* of struct cgrp_cset_link: one for each hierarchy */
};

struct cgrp_cset_link {
    struct cgroup *cgrp;
    struct list_head cgrp_link;
};

struct files_struct;

struct task_struct {
    struct files_struct *files;
    int pid;
    int tgid;
    char comm[16];
    struct task_struct *group_leader;
    struct signal_struct *signal;
    struct css_set *cgroups;
    struct nsproxy *nsproxy;
};

typedef struct {
    struct net *net;
} possible_net_t;

struct in6_addr {
    __u8 bytes[16];
} __attribute__((__may_alias__));

struct sock_common {
    __be32 skc_daddr;
    __be32 skc_rcv_saddr;
    __be16 skc_dport;
    __u16 skc_num;
    unsigned short skc_family;
    volatile unsigned char skc_state;
    possible_net_t skc_net;
    struct in6_addr skc_v6_daddr;
    struct in6_addr skc_v6_rcv_saddr;
};

struct sock {
    struct sock_common __sk_common;
    __u16 sk_protocol;
};

struct inet_sock {
    __be16 inet_sport;
};

struct tcp_sock {
    int unused;
};

struct inode {
    __u16 i_mode;
};

struct file {
    void *private_data;
    struct inode *f_inode;
};

struct fdtable {
    unsigned int max_fds;
    struct file **fd;
};

struct files_struct {
    struct fdtable *fdt;
};

struct socket {
    struct sock *sk;
};

struct seq_file {
    int unused;
};

struct bpf_iter_meta {
    struct seq_file *seq;
    __u64 seq_num;
};

struct bpf_iter__task_file {
    struct bpf_iter_meta *meta;
    struct task_struct *task;
    __u32 fd;
    struct file *file;
};

#pragma clang attribute pop

enum cgroup_subsys_id {
    pids_cgrp_id = 1, /* the kernel's own value is found at load time */
};
