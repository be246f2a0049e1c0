#!/usr/bin/env bash
# builds: release
# powercut.sh - the short version of make powercut.
set -u
cd "$(dirname "$0")/../.." || exit 1
exec tests/powercut/powercut.sh "$BUILD" "$RANDOM" 50 100
