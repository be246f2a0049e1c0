#!/bin/sh
# setup.sh - finds what is missing on this machine, says so, and installs it
# from Debian's packages; the CoAP client for node.js with npm, into build/.
#
#   tests/setup.sh build [test] [bench] [check] [fuzz]
#
# Each word is a set of things; a set that is complete leaves a stamp,
# build/setup-SET, so that the next time costs nothing.  make has no other
# say in this: it runs where there is git and make and nothing else, and so
# does this script (POSIX sh, no tool beyond a minimal system).
#
# MOONPOOL_NO_INSTALL=1  print the line to type instead, and stop with 1.
set -u
cd "$(dirname "$0")/.." || exit 1
PATH=$PATH:/usr/sbin:/sbin

# have TOOL, lib PKG-CONFIG-NAME: is it there?
have() { command -v "$1" >/dev/null 2>&1; }
lib() { have pkg-config && pkg-config --exists "$1"; }

packages=
sets=
need() { packages="$packages $1"; }

look_build() {
    { have gcc && [ -e /usr/include/stdio.h ]; } || need "gcc libc6-dev"
    have ar || need binutils
    have pkg-config || need pkg-config
    lib libmosquitto || need libmosquitto-dev
    lib lua5.4 || need liblua5.4-dev
    lib libuv || need libuv1-dev
    lib inih || need libinih-dev
    lib libseccomp || need libseccomp-dev
    lib sqlite3 || need libsqlite3-dev
    lib libmicrohttpd || need libmicrohttpd-dev
    lib libcoap-3-openssl || need libcoap3-dev
    [ -e /usr/include/mbedtls/md.h ] || need libmbedtls-dev
    have openssl || need openssl
    have curl || need curl
    [ -e /usr/share/zoneinfo/Europe/Paris ] || need tzdata
    have sqlite3 || need sqlite3
    lib cmocka || need libcmocka-dev
    have mosquitto || need mosquitto
    { have mosquitto_sub && have mosquitto_pub; } || need mosquitto-clients
}

# Clients of others, which the system tests drive.
look_test() {
    have coap-client-openssl || need libcoap3-bin
    { have node && have npm; } || need npm
    have wrk || need wrk
}

look_bench() {
    have wrk || need wrk
}

look_check() {
    have clang-format || need clang-format
    have clang-tidy || need clang-tidy
    have cppcheck || need cppcheck
    have shellcheck || need shellcheck
}

look_fuzz() {
    have clang || need clang
    [ -n "$(find /usr/lib/llvm-* -name 'libclang_rt.fuzzer-*' \
        2>/dev/null | head -n 1)" ] || need libclang-rt-dev
}

# shellcheck disable=SC3013 # dash has -nt
has_npm_packages() {
    [ build/node/stamp -nt tests/node/package-lock.json ]
}
# shellcheck disable=SC3013
is_set_up() {
    [ build/setup-"$1" -nt tests/setup.sh ] &&
        { [ "$1" != test ] || has_npm_packages; }
}

for set in "$@"; do
    case $set in build | test | bench | check | fuzz) ;; *)
        echo "setup: no set is called '$set'" >&2
        exit 2
        ;;
    esac
    is_set_up "$set" && continue
    sets="$sets $set"
    look_"$set"
done

# What Debian has no package for.  package-lock.json has the digest of each.
npm_ci() {
    has_npm_packages && return
    if [ -n "${MOONPOOL_NO_INSTALL:-}" ]; then
        echo "setup: missing: the npm packages of tests/node; install with:" >&2
        echo "tests/setup.sh test"
        exit 1
    fi
    echo "setup: npm installs what tests/node names, in build/node" >&2
    mkdir -p build/node && cp tests/node/package*.json build/node/ || exit 1
    if ! (cd build/node && npm ci --ignore-scripts --no-audit --no-fund) \
        >>build/setup.log 2>&1 </dev/null; then
        tail -n 5 build/setup.log >&2
        echo "setup: npm failed; see build/setup.log" >&2
        exit 1
    fi
    : >build/node/stamp
}

stamp() {
    mkdir -p build || exit 1
    for set in $sets; do
        [ "$set" != test ] || npm_ci
        : >build/setup-"$set"
    done
}

if [ -z "$packages" ]; then
    stamp
    exit 0
fi

if ! have apt-get; then
    echo "setup: missing here, under the names Debian has for them:$packages" >&2
    exit 1
fi
sudo=
[ "$(id -u)" -eq 0 ] || sudo=sudo
if [ -n "${MOONPOOL_NO_INSTALL:-}" ]; then
    echo "setup: missing:$packages; install with:" >&2
    echo "$sudo apt-get install -y --no-install-recommends$packages" |
        sed 's/^ //'
    exit 1
fi
if [ -n "$sudo" ] && ! have sudo; then
    echo "setup: missing:$packages; as root, run:" >&2
    echo "apt-get install -y --no-install-recommends$packages" >&2
    exit 1
fi

mkdir -p build || exit 1
echo "setup: installing what is missing:$packages (log: build/setup.log)" >&2
# shellcheck disable=SC2086 # the list is meant to be split
if ! {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get update -q &&
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
            --no-install-recommends $packages
} >build/setup.log 2>&1 </dev/null; then
    tail -n 5 build/setup.log >&2
    echo "setup: apt-get failed; see build/setup.log" >&2
    exit 1
fi

# What apt installed must be what was looked for.
packages=
for set in $sets; do
    look_"$set"
done
if [ -n "$packages" ]; then
    echo "setup: installed, but still not found:$packages" >&2
    exit 1
fi
stamp
