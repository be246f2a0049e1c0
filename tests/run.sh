#!/usr/bin/env bash
# run.sh - runs the tests of the builds it is given and counts.
#
#   tests/run.sh RELEASE SANITIZED     everything
#   tests/run.sh --unit BUILD          the unit tests of one build
#
# What it runs: tests of the check scripts' own rules (the include map and
# the symbols), unit tests (cmocka) of both builds, a short fuzz, and
# tests/system/*.sh, each with the environment
#
#   BUILD   the build directory to use; SANITIZED=1 where it is that one
#
# A system test that begins with the line "# builds: release" (or sanitized)
# runs in that one only; with "# builds: both" in both; without a line in the
# sanitized one.  "# long" runs among the first, "# alone" beside no other.  Its lines "ok - SENTENCE" and "not ok - SENTENCE" are cases;
# without any, the whole script is one.
#
# The last line is "N passed, N failed", alone; the exit status says the same.
# MOONPOOL_TEST_ONLY=TEXT runs only what has TEXT in its name.
set -u
cd "$(dirname "$0")/.." || exit 1
export LC_ALL=C.UTF-8
export ASAN_OPTIONS=${ASAN_OPTIONS:-abort_on_error=1:detect_leaks=1}
export LSAN_OPTIONS=${LSAN_OPTIONS:-suppressions=$PWD/tests/lsan.supp:print_suppressions=0}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

ALONE=${MOONPOOL_TEST_SECONDS:-120} # no test program may take longer
JOBS=$(nproc)
passed=0 failed=0
failures=()
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ASan places its shadow where a kernel with more random bits than it knows
# may put the program: then run without address randomisation.
prefix=()
bits=$(cat /proc/sys/vm/mmap_rnd_bits 2>/dev/null || echo 0)
if [ "$bits" -gt 28 ] && setarch -R true 2>/dev/null; then
    prefix=(setarch -R)
fi

# ---- running: in the background, output kept until it ends ----

names=() pids=()

# launch NAME COMMAND...
launch() {
    local name=$1 at=${#names[@]}
    shift
    if [[ $name != *"${MOONPOOL_TEST_ONLY:-}"* ]]; then return; fi
    while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do wait -n; done
    timeout -k 5 "$ALONE" "${prefix[@]}" "$@" >"$work/$at" 2>&1 </dev/null &
    names+=("$name")
    pids+=($!)
}

# Wait for all that was launched, and count.
collect() {
    local at rc
    for at in "${!names[@]}"; do
        [ -n "${pids[at]}" ] || continue
        wait "${pids[at]}"
        rc=$?
        pids[at]=
        tally "${names[at]}" "$rc" "$work/$at"
    done
}

# tally NAME STATUS OUTPUT: cmocka's summary, our "ok -" lines, or one case.
tally() {
    local name=$1 rc=$2 out=$3 good bad
    read -r good bad < <(awk '
        /^\[  PASSED  \] [0-9]+ test/ { good += $4 }
        /^\[  FAILED  \] [0-9]+ test/ { bad += $4 }
        /^ok( -|  )/ { good++ }
        /^(not ok -|FAIL )/ { bad++ }
        END { print good + 0, bad + 0 }' "$out")
    # Exit status and cases must agree; where they don't, something died.
    if [ "$rc" -eq 0 ] && [ "$((good + bad))" -eq 0 ]; then good=1; fi
    if [ "$rc" -ne 0 ] && [ "$bad" -eq 0 ]; then bad=1; fi
    passed=$((passed + good)) failed=$((failed + bad))
    if [ "$rc" -eq 0 ] && [ "$bad" -eq 0 ]; then
        printf 'ok    %-50s %4d\n' "$name" "$good"
        return
    fi
    failures+=("$name")
    case $rc in
        124 | 137) rc="$rc (out of time: $ALONE s)" ;;
    esac
    printf 'FAIL  %-50s status %s\n' "$name" "$rc"
    grep -vE '^\[ (RUN     |      OK) \]' "$out" | tail -n 80 | sed 's/^/      /'
}

# ---- what there is to run ----

unit() {
    local build=$1 label=$2 t
    for t in tests/unit/test_*.c; do
        t=$(basename "$t" .c)
        launch "$label $t" env BUILD="$build" "$build/tests/$t"
    done
    collect
}

# Parsers on what a small generator makes of their seeds, for two seconds.
fuzz() {
    local build=$1 t
    for t in tests/fuzz/fuzz_*.c; do
        [ -e "$t" ] || continue
        t=$(basename "$t" .c)
        launch "sanitized $t" env FUZZ_SECONDS=2 "$build/tests/$t" \
            tests/corpus/"${t#fuzz_}"
    done
    collect
}

# They mostly wait, so one more at a time than there are cores; the longest
# ones first.  What says "# alone" in a line measures something.
system() {
    local release=$1 san=$2 t builds
    JOBS=$((JOBS + 1))
    for t in $(grep -l '^# long$' tests/system/*.sh) \
        $(grep -LE '^# (long|alone)$' tests/system/*.sh); do
        both_builds "$t"
    done
    collect
    for t in $(grep -l '^# alone$' tests/system/*.sh); do
        both_builds "$t"
        collect
    done
}

both_builds() {
    local t=$1
    [ -x "$t" ] || return
    builds=$(sed -n 's/^# builds: *//p' "$t" | head -n 1)
    case ${builds:-sanitized} in
        release | both)
            launch "release ${t##*/}" env BUILD="$release" "$t"
            ;;&
        sanitized | both)
            launch "sanitized ${t##*/}" env BUILD="$san" SANITIZED=1 "$t"
            ;;
    esac
}

if [ "${1:-}" = --unit ]; then
    unit "$(realpath "$2")" unit
else
    set -- "$(realpath "$1")" "$(realpath "$2")"
    launch "include map" tests/check/map.sh
    launch "symbols" tests/check/symbols.sh "$1"
    unit "$1" release
    unit "$2" sanitized
    fuzz "$2"
    system "$1" "$2"
fi

if [ "$failed" -gt 0 ]; then
    printf 'failed: %s\n' "${failures[@]}"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
