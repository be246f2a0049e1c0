#!/usr/bin/env bash
# builds: release
# setup.sh - what `make run` and `make test` say on a machine where something
# is missing.  What they install is shown on fresh machines, not here: this
# one has it all.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A copy without stamps, and a PATH without pkg-config, so that no library
# and no tool that isn't named here is found.
mkdir -p "$work/tree/tests" "$work/bin"
cp tests/setup.sh "$work/tree/tests/"
for tool in sh dirname id sed find head mkdir gcc ar mosquitto; do
    ln -s "$(command -v $tool)" "$work/bin/$tool"
done
# Would it install, it would come by here.
printf '#!/bin/sh\necho "$@" >>%s/apt\n' "$work" >"$work/bin/apt-get"
chmod +x "$work/bin/apt-get"

asked() {
    PATH=$work/bin MOONPOOL_NO_INSTALL=1 "$work/tree/tests/setup.sh" build \
        >"$work/out" 2>"$work/err"
}
asked
status=$?
case_is "asked not to install, it stops with 1" [ "$status" -eq 1 ]
case_is "and prints the apt-get line" \
    grep -q '^\(sudo \)\?apt-get install .* libmosquitto-dev' "$work/out"
case_is "with pkg-config in it" grep -qw pkg-config "$work/out"
case_is "and without what is there" not grep -qw gcc "$work/out"
case_is "and installs nothing" [ ! -e "$work/apt" ]
case_is "and leaves no stamp" [ ! -e "$work/tree/build/setup-build" ]

# Here nothing is missing: a stamp is left, and the next time it is enough.
mkdir -p "$work/whole/tests"
cp tests/setup.sh "$work/whole/tests/"
case_is "where all is there it says nothing" \
    [ -z "$("$work/whole/tests/setup.sh" build 2>&1)" ]
case_is "and leaves a stamp" [ -e "$work/whole/build/setup-build" ]
case_is "which is believed the next time" \
    env PATH="$work/bin" MOONPOOL_NO_INSTALL=1 \
    "$work/whole/tests/setup.sh" build
cases_end
