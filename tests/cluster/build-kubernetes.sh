#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Builds the programs of Kubernetes that Debian has only as source, once a version, and prints the folder they are in.
# The folder is in the cache (see cache.sh) and outlives the work tree. Progress goes to standard error.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
. "$here/cache.sh"
programs="kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy"

# The one binary package of this source tells its version. It is not installed, as it excludes other packages of kubectl.
version=$(apt-cache show --no-all-versions kubernetes-client 2> /dev/null | sed -n 's/^Version: //p')
key=$(cat "$here/build-kubernetes.sh" "$here/source-list.sh" | sha256sum | cut -c1-12)
if [ -z "$version" ]; then
    echo "build-kubernetes: apt knows no kubernetes-client; run apt-get update, on Debian 12" >&2
    exit 1
fi
target=$cache/kubernetes-$version-$key
if [ -e "$target/complete" ]; then
    echo "$target"
    exit
fi

say() { printf '%4d s  %s\n' "$SECONDS" "$*" >&2; }

mkdir -p "$cache"
exec 9> "$cache/kubernetes.lock"
flock -n 9 || { say "another build is running; waiting"; flock 9; }
[ ! -e "$target/complete" ] || { echo "$target"; exit; }
say "building Kubernetes $version, once; about three minutes on two cores"
work=$(mktemp -d "$cache/build.XXXXXX")
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT

# apt with sources, lists and cache of its own: the machine's stay as they are.
mkdir -p "$work"/apt/{parts,lists/partial,archives/partial}
"$here/source-list.sh" > "$work/apt/parts/remora.sources"
apt=(apt-get -q -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$work/apt/parts"
    -o "Dir::State::lists=$work/apt/lists" -o "Dir::Cache=$work/apt" -o APT::Sandbox::User=root
    -o Acquire::Languages=none -o APT::Get::List-Cleanup=false)
# Third-party entries often have no source packages, which apt calls an error: the download decides.
"${apt[@]}" update > "$work/apt.log" 2>&1 || true
cd "$work"
if ! "${apt[@]}" source --download-only --only-source "kubernetes=$version" >> "$work/apt.log" 2>&1; then
    tail -20 "$work/apt.log" >&2
    echo "build-kubernetes: no source of version $version; if Debian has a newer one, upgrade kubernetes-client" >&2
    exit 1
fi
say "source fetched"

export GOPATH=$work/go GO111MODULE=off CGO_ENABLED=0 GOCACHE=$work/go-cache GOFLAGS=
tree=$GOPATH/src/k8s.io/kubernetes
mkdir -p "$(dirname "$tree")"
dpkg-source -x kubernetes_*.dsc "$tree" > "$work/unpack.log" 2>&1 || { tail "$work/unpack.log" >&2; exit 1; }
cd "$tree"
# The vendored reflect2 reaches into the runtime in a way that Go 1.18 and later answer with a crash.
rm -rf vendor/github.com/modern-go/reflect2
cp -r /usr/share/gocode/src/github.com/modern-go/reflect2 vendor/github.com/modern-go/
say "source unpacked"

# pkg/generated/openapi is generated at build time upstream; Debian's source lacks it.
vendored=k8s.io/kubernetes/vendor/k8s.io
go build -o "$work/openapi-gen" $vendored/kube-openapi/cmd/openapi-gen
roots=$(for part in api apimachinery apiserver apiextensions-apiserver kube-aggregator metrics component-base \
    kube-controller-manager kube-proxy kube-scheduler kubelet cloud-provider; do echo staging/src/k8s.io/$part; done)
packages=$(grep -rlE --include='*.go' '^// \+k8s:openapi-gen=' $roots cmd pkg | xargs -n1 dirname | sort -u |
    grep -v testdata | sed 's#^staging/src/#k8s.io/kubernetes/vendor/#; s#^\(cmd\|pkg\)/#k8s.io/kubernetes/\1/#' |
    paste -sd,)
machinery=$vendored/apimachinery/pkg
"$work/openapi-gen" --logtostderr -O zz_generated.openapi -h hack/boilerplate/boilerplate.generatego.txt \
    -p k8s.io/kubernetes/pkg/generated/openapi -r /dev/null \
    -i "$packages,$machinery/version,$machinery/runtime,$machinery/util/intstr" > "$work/openapi.log" 2>&1 ||
    [ -s pkg/generated/openapi/zz_generated.openapi.go ] || { tail "$work/openapi.log" >&2; exit 1; }
say "API description generated"

release=${version##*really}
release=${release%%-*}
stamp=$vendored/component-base/version
flags="-s -w -X $stamp.gitVersion=v$release -X $stamp.gitMajor=${release%%.*} -X $stamp.gitTreeState=clean"
flags+=" -X $stamp.gitMinor=$(echo "$release" | cut -d. -f2) -X $stamp.gitCommit=debian"
mkdir -p "$work/out"
for program in $programs; do
    go build -tags providerless,dockerless -trimpath -ldflags "$flags" -o "$work/out/$program" \
        k8s.io/kubernetes/cmd/"$program"
    say "$program built"
done
(cd "$work" && apt-get -q download "kubernetes-client=$version" && dpkg-deb -x kubernetes-client_*.deb client) \
    > "$work/client.log" 2>&1 || { tail "$work/client.log" >&2; exit 1; }
cp "$work/client/usr/bin/kubectl" "$work/out/"
touch "$work/out/complete"
rm -rf "$target"
mv "$work/out" "$target"
echo "$target"
