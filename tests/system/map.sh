#!/usr/bin/env bash
# builds: release
# map.sh - the include map is kept because a check reads it; here the check
# is given houses with one wall too few.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# house FILE LINE: a tree with one source that holds one line.
house() {
    rm -rf "$work/house"
    mkdir -p "$work/house/$(dirname "$1")"
    printf '/* one */\n%s\n' "$2" >"$work/house/$1"
}
# leaves FILE LINE WORDS: the check says no, and names the line and the rule.
leaves() {
    house "$1" "$2"
    case_is "$1 may not have: $2" says "$1:2: " "$3"
}
says() {
    local out
    out=$(tests/check/map.sh "$work/house") && return 1
    [[ $out == "$1"*"$2"* ]] || {
        echo "$out"
        return 1
    }
}
stays() {
    house "$1" "$2"
    case_is "$1 may have: $2" tests/check/map.sh "$work/house"
}

leaves core/pool.c '#include "transports/mqtt.h"' "core may not include transports"
leaves core/pool.c '#include "luart/run.h"' "core may not include luart"
leaves core/pool.c '# include  "cli/show.h"' "core may not include cli"
leaves core/base/slice.c '#include "core/log.h"' "core/base may not include core"
leaves luart/run.c '#include "core/log.h"' "luart may not include core"
leaves transports/coap.c '#include "transports/mqtt.h"' "never include each other"
leaves core/host.c '#include <mosquitto.h>' "one door"
leaves core/host.c '#include <lua.h>' "one door"
leaves core/values.c '#include <ini.h>' "one door"
leaves luart/run.c '#include <seccomp.h>' "one door"
leaves luart/run.c '#include <uv.h>' "one door"
leaves core/host.c '#include <sqlite3.h>' "one door"
leaves core/host.c '#include <glib.h>' "no header of libc"
leaves core/host.c '#include "pool.h"' "named from the top"
leaves core/host.c '#include HEADER' "cannot read"

stays core/host.c '#include "core/base/why.h"'
stays core/host.c '#include <uv.h>'
stays core/base/why.c '#include <stdio.h>'
stays luart/cage.c '#include <seccomp.h>'
stays luart/run.c '#include "core/base/wire.h"'
stays transports/mqtt.c '#include <mosquitto.h>'
stays transports/mqtt_lane.c '#include "transports/mqtt_conn.h"'
stays cli/host.c '#include "transports/mqtt.h"'

case_is "the house we live in keeps the map" tests/check/map.sh
cases_end
