#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs in a node's own mount namespace: gives the node folders of its own in the places that containerd, kubelet and CNI
# have fixed, then holds the namespaces. usage: node-mounts.sh FOLDER
set -eu
folder=$1
# Containers' mounts and network namespaces must reach hostPath volumes, though not the machine.
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/lock /run/netns /run/remora-lab
# The node's own network namespace, for pods that ask for it: that of process 1 is the machine's.
touch /run/remora-lab/netns
mount --bind /proc/self/ns/net /run/remora-lab/netns
for place in /var/lib/kubelet /var/lib/cni /var/log; do
    own=$folder$place
    mkdir -p "$own"
    mount --bind "$own" "$place"
done
# A kubelet sets these for the whole machine: it gets files that already say what it wants.
mkdir "$folder/sysctl"
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    file=$folder/sysctl/$(echo "${setting%=*}" | tr / .)
    echo "${setting#*=}" > "$file"
    mount --bind "$file" "/proc/sys/${setting%=*}"
done
touch "$folder/mounted"
exec sleep infinity
