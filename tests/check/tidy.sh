#!/usr/bin/env bash
# tidy.sh - clang-tidy (what for: .clang-tidy) and cppcheck over our code.
#
# A file that has passed is not looked at again until it or a header changes:
# what was looked at is kept as a hash in build/tidy.
#
#   tests/check/tidy.sh [FILE...]     these only; default: all but tests
set -u
cd "$(dirname "$0")/../.." || exit 1
mkdir -p build/tidy build/cppcheck

if [ $# -gt 0 ]; then
    files=("$@")
else
    mapfile -t files < <(find core luart transports ota boards cli \
        tests/load tests/bench -name '*.c' 2>/dev/null | LC_ALL=C sort)
fi
[ "${#files[@]}" -gt 0 ] || exit 0

mapfile -t flags < <(pkg-config --cflags-only-I lua5.4 | tr ' ' '\n' | grep .)
flags+=(-std=c11 -I. -D_GNU_SOURCE '-DMP_VERSION="0"' '-DMP_LIBEXEC="/"')

# What all files hang on: headers, settings, this script.
common=$(find core luart transports ota boards cli tests -name '*.h' -print0 2>/dev/null |
    LC_ALL=C sort -z | xargs -0 cat .clang-tidy tests/check/tidy.sh |
    sha256sum)
export common

one() {
    local file=$1 seen
    shift
    seen=build/tidy/$({ echo "$common"; cat "$file"; } | sha256sum | cut -c1-32)
    [ -e "$seen" ] && return 0
    # core/base/why.c defines what the header below replaces.
    [ "$file" = core/base/why.c ] || set -- "$@" -include tests/check/analyze.h
    clang-tidy --quiet --warnings-as-errors='*' "$file" -- "$@" 2>/dev/null &&
        : >"$seen"
}
export -f one

# uninitvar and its kin take what a callee fills for what it reads; gcc and
# the analyzer look for the same and see more.
bad=0
printf '%s\0' "${files[@]}" |
    xargs -0 -n 1 -P "$(nproc)" bash -c 'one "${@: -1}" "${@:1:$#-1}"' one \
        "${flags[@]}" || bad=1
cppcheck -q -j "$(nproc)" --std=c11 --enable=warning,performance,portability \
    --inline-suppr --suppress=ctuuninitvar --suppress=uninitvar \
    --suppress=missingInclude --suppress=missingIncludeSystem \
    --cppcheck-build-dir=build/cppcheck \
    --error-exitcode=1 -I. -D_GNU_SOURCE -D__x86_64__ '-DMP_VERSION="0"' \
    "${files[@]}" || bad=1
exit "$bad"
