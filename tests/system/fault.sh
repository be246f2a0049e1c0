#!/usr/bin/env bash
# builds: release
# long
# fault.sh - the short version of make fault.
set -u
cd "$(dirname "$0")/../.." || exit 1
exec tests/fault/fault.sh "$BUILD" "$RANDOM" --brief
