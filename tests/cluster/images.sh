#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes container images from what this machine has, as archives that `ctr images import` takes.
# usage: images.sh lab                          pause.tar and work.tar in the cache; prints their folder
#        images.sh remora-node PROGRAM OUT.tar  localhost/remora-node:1: the program with its shared libraries
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/cache.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# with_libraries ROOT PROGRAM [PLACE]: the program, under its own path or PLACE, and what the loader loads for it.
with_libraries() {
    local root=$1 program=$2 place=${3:-$2} library
    install -D "$program" "$root$place"
    libraries "$root" "$program"
}

libraries() {
    local root=$1 library
    shift
    ldd "$@" 2> /dev/null | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^[[:space:]]*\(\/[^ ]*ld-linux[^ ]*\) .*/\1/p' |
        sort -u | while read -r library; do
            [ -e "$root$library" ] || install -D "$(readlink -f "$library")" "$root$library"
        done
}

# base ROOT: busybox with all its commands, and the files that programs expect.
base() {
    local root=$1 applet
    mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,etc,proc,sys,dev,run,var,root,tmp}
    chmod 1777 "$root/tmp"
    ln -s /run "$root/var/run"
    install /bin/busybox "$root/bin/busybox"
    for applet in $(/bin/busybox --list | grep -vx busybox); do
        ln -s busybox "$root/bin/$applet"
    done
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' > "$root/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' > "$root/etc/group"
    printf 'hosts: files dns\n' > "$root/etc/nsswitch.conf"
}

# pack ROOT NAME COMMAND(JSON) OUT.tar: a docker archive of one layer.
pack() {
    local root=$1 name=$2 command=$3 out=$4 box layer config architecture
    box=$(mktemp -d "$work/pack.XXXXXX")
    architecture=$(dpkg --print-architecture)
    tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$root" -cf "$box/layer.tar" .
    layer=$(sha256sum "$box/layer.tar" | cut -d' ' -f1)
    cat > "$box/config" <<TXT
{"architecture": "$architecture", "os": "linux", "created": "1970-01-01T00:00:00Z",
 "config": {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": $command},
 "rootfs": {"type": "layers", "diff_ids": ["sha256:$layer"]}, "history": [{"created": "1970-01-01T00:00:00Z"}]}
TXT
    config=$(sha256sum "$box/config" | cut -d' ' -f1)
    mv "$box/config" "$box/$config.json"
    echo "[{\"Config\": \"$config.json\", \"RepoTags\": [\"$name\"], \"Layers\": [\"layer.tar\"]}]" > "$box/manifest.json"
    tar -C "$box" -cf "$out.new" manifest.json "$config.json" layer.tar
    mv "$out.new" "$out"
}

pause_image() {
    mkdir "$work/pause"
    gcc -O2 -static -s -o "$work/pause/pause" "$here/pause.c"
    pack "$work/pause" localhost/pause:1 '["/pause"]' "$1"
}

work_image() {
    local root=$work/work python
    base "$root"
    with_libraries "$root" /usr/bin/curl
    # The real program of Debian's own python3, whatever PATH says.
    python=$(readlink -f /usr/bin/python3)
    with_libraries "$root" "$python"
    ln -s "$python" "$root/usr/bin/python3"
    local modules=/usr/lib/$(basename "$python")
    mkdir -p "$root$modules"
    tar -C "$modules" --exclude=./test --exclude=./idlelib --exclude=./lib2to3 --exclude=./ensurepip \
        --exclude='./config-*' --exclude=./pydoc_data --exclude=./tkinter --exclude=./turtledemo --exclude=./distutils \
        -cf - . | tar -C "$root$modules" -xf -
    libraries "$root" "$modules"/lib-dynload/*.so
    install "$here/traffic.py" "$root/bin/traffic"
    gcc -O2 -static -s -o "$root/bin/datagram" "$here/datagram.c"
    pack "$root" localhost/work:1 '["/bin/sleep", "infinity"]' "$1"
}

case "${1:-}" in
lab)
    key=$({ cat "$here/images.sh" "$here/pause.c" "$here/datagram.c" "$here/traffic.py"
        dpkg-query -W busybox-static curl libcurl4 libc6 libssl3 python3 libpython3-stdlib; } | sha256sum | cut -c1-12)
    target=$cache/images-$key
    if [ ! -e "$target/complete" ]; then
        mkdir -p "$cache"
        made=$(mktemp -d "$cache/images.XXXXXX")
        trap 'rm -rf "$work" "$made"' EXIT
        chmod 755 "$made"
        pause_image "$made/pause.tar"
        work_image "$made/work.tar"
        touch "$made/complete"
        # Another run may have been faster; its images are as good.
        mv -T "$made" "$target" 2> /dev/null || [ -e "$target/complete" ]
    fi
    echo "$target"
    ;;
remora-node)
    [ $# -eq 3 ] || { sed -n '4,6s/^# //p' "$0" >&2; exit 2; }
    base "$work/node"
    with_libraries "$work/node" "$2" /usr/bin/remora-node
    pack "$work/node" localhost/remora-node:1 '["/usr/bin/remora-node"]' "$(readlink -m "$3")"
    ;;
*)
    sed -n '4,6s/^# //p' "$0" >&2
    exit 2
    ;;
esac
