#!/usr/bin/env bash
# cover.sh - which lines no test runs: a table of files, worst first, and the
# lines themselves in BUILD/*.gcov.
#
#   tests/check/cover.sh BUILD     of a build with COV=1
#
# A worker in its cage cannot write its counts: what luart/ shows here was run
# by the unit tests, inside the test program.
set -u
cd "$(dirname "$0")/../.." || exit 1
top=$PWD
build=$(realpath "${1:?usage: cover.sh BUILD}")

find "$build" -name '*.gcda' -delete
tests/run.sh --unit "$build" | tail -n 1
for t in tests/system/*.sh; do
    [[ $(sed -n 's/^# builds: *//p' "$t") == release ]] && continue
    BUILD=$build timeout -k 5 120 "$t" >/dev/null 2>&1 </dev/null ||
        echo "failed: $t" >&2
done

cd "$build" || exit 1
find core luart transports cli -name '*.gcda' -print0 2>/dev/null |
    xargs -0 -r gcov -r \
    -s "$top" 2>/dev/null |
    awk '/^File/ { file = substr($2, 2, length($2) - 2) }
        /^Lines executed/ && file !~ /^\// {
            split($2, part, /[:%]/)
            lines[file] = $4; hit[file] = part[2]
            file = "/" }
        END {
            for (f in lines) {
                printf "%6.1f %%  %5d lines  %s\n", hit[f], lines[f], f
                all += lines[f]; ran += lines[f] * hit[f] / 100
            }
            if (all)
                printf "%6.1f %%  %5d lines  all\n", 100 * ran / all, all
        }' | LC_ALL=C sort -n
echo "each line with its count: $build/*.gcov"
