#!/usr/bin/env bash
# points.sh - prints the names of all crash points in the sources, one a line;
# of those in tests/crash/unreached no load of ours comes by.
set -u
cd "$(dirname "$0")/../.." || exit 1
grep -rhoE 'MP_CRASH_POINT\("[^"]+"\)' core luart transports |
    grep -v '("name")' | sed -E 's/.*"(.*)".*/\1/' | sort -u |
    grep -vxFf <(sed 's/ *#.*//; /^$/d' tests/crash/unreached)
