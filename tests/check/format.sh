#!/usr/bin/env bash
# format.sh - every source is as clang-format lays it out; make format helps.
# Scripts are read by shellcheck.
set -u
cd "$(dirname "$0")/../.." || exit 1
find core luart transports ota boards cli tests -name '*.[ch]' -print0 \
    2>/dev/null | xargs -0 -r clang-format --dry-run -Werror || {
    echo "make format lays these out" >&2
    exit 1
}
find tests cli .ci \( -name '*.sh' -o -path .ci/run \) -print0 |
    xargs -0 -r shellcheck -x -S warning
