#!/usr/bin/env bash
# symbols.sh - what our objects show to others begins with mp_, and each
# program links what it may and no more.
#
#   tests/check/symbols.sh BUILD     of a release build
set -u
cd "$(dirname "$0")/../.." || exit 1
build=${1:?usage: symbols.sh BUILD}
bad=0
say() {
    echo "$*"
    bad=1
}

while read -r file name; do
    case $name in
        mp_*) continue ;;
        main) case $file in "$build"/cli/*) continue ;; esac ;;
        # In the C library's place, for libmosquitto: see its opening comment.
        read | write | socketpair)
            case $file in */transports/mqtt_io.o) continue ;; esac ;;
    esac
    say "$file: '$name' is seen by other files and does not begin with mp_"
done < <(find "$build"/{core,luart,transports,ota,boards,cli} -name '*.o' \
    2>/dev/null | LC_ALL=C sort | while read -r object; do
    # Objects of files that are gone are not ours any more.
    source=${object#"$build"/}
    [ -e "${source%.o}.c" ] || continue
    nm -g --defined-only "$object" | awk -v f="$object" 'NF == 3 {print f, $3}'
done)

# links PROGRAM LIBRARY...: these and libc (libm is part of it).
links() {
    local program=$1 needed library found
    shift
    if [ ! -e "$program" ]; then
        say "$program: is not there"
        return
    fi
    for needed in $(readelf -d "$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
        found=
        for library in libc libm ld-linux "$@"; do
            case $needed in "$library"[.-]*) found=1 ;; esac
        done
        [ -n "$found" ] || say "$program: links $needed; it may link libc $*"
    done
}
links "$build"/moonpool-worker liblua5.4 libseccomp
links "$build"/moonpool-host libmosquitto libuv libinih libsqlite3
links "$build"/moonpool-api.so libmicrohttpd libuv
links "$build"/moonpool libinih libsqlite3

exit "$bad"
