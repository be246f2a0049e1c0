#!/usr/bin/env bash
# builds: both
#
# cli.sh - `moonpool` as a user types it: verbs and flags that are misspelt,
# `new`, `check`, `help`, and the exit status that scripts go by.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh

moonpool=$(realpath "${BUILD:-build}")/moonpool
dir=$(mktemp -d)
trap 'end_all; rm -rf "$dir"' EXIT

# run ARG...: its stdout, stderr and status, in OUT, ERR and STATUS.
run() {
    OUT=$("$moonpool" "$@" 2>"$dir/stderr")
    STATUS=$?
    ERR=$(cat "$dir/stderr")
}

# says STATUS STDOUT STDERR: it ended so; each text is in what it said there,
# and where none is given it said nothing.
says() {
    if [ "$STATUS" -eq "$1" ] && part "$2" "$OUT" && part "$3" "$ERR"; then
        return 0
    fi
    printf '# status %s\n# stdout: %s\n# stderr: %s\n' "$STATUS" "$OUT" "$ERR"
    return 1
}
part() { if [ -n "$1" ]; then [[ $2 == *"$1"* ]]; else [ -z "$2" ]; fi; }

# ---- verbs and flags ----

run
case_is "no verb is wrong usage" says 2 "" "moonpool help lists the verbs"
run chek
case_is "a misspelt verb is told with the right word" \
    says 2 "" "unknown verb 'chek'; did you mean 'check'?"
run host
case_is "another word of four letters is none that was misspelt" \
    says 2 "" "unknown verb 'host'; moonpool help lists them"
run version
case_is "version prints a line" says 0 "moonpool 0." ""
run --version
case_is "--version does, too" says 0 "moonpool 0." ""
run check
case_is "a missing operand is wrong usage" says 2 "" "PATH... is missing"
run check --strct x
case_is "a misspelt flag is told with the right word" \
    says 2 "" "unknown flag '--strct'; did you mean '--strict'?"
run new a b
case_is "one word too many is wrong usage" says 2 "" "'b' is one word too many"
run run --workers=0
case_is "a value of run is checked before the host starts" \
    says 2 "" "--workers 0: a number from 1 to 64"
run run --mqtt hub
case_is "so is its broker" says 2 "" "--mqtt hub: a broker is mqtt://HOST[:PORT]"
run run --config
case_is "a flag without its value is wrong usage" \
    says 2 "" "--config needs a value: --config FILE"
for verb in run new check test invoke help version; do
    run "$verb" --help
    case_is "$verb --help is help" says 0 "moonpool $verb" ""
done

# ---- help ----

run help
case_is "help shows every verb" says 0 "invoke [PATH]" ""
run help function
case_is "help function is the table" says 0 "size from 64K to 64M; default: 1M" ""
run help config
case_is "help config is the table" says 0 "default: mqtt://127.0.0.1:1883" ""
run help lua
case_is "help lua is the API" says 0 "mp.publish(topic, payload" ""
run help check
case_is "help VERB is its --help" says 0 "moonpool check PATH..." ""
run help lines
case_is "help lines is how filter and the others are written" \
    says 0 "exists(FIELD)" ""
run help filter
case_is "and so is help filter" says 0 "A in (B, C, ...)" ""
run help http
case_is "help KEY is that key, of both files" says 0 "POST /hooks/{source}" ""
case_is "and the section of that name" says 0 "[http]  of moonpool.conf" ""
run help secret
case_is "a verb that is a key, too, is both" says 0 "moonpool secret ls|set|rm" ""
case_is "the key behind the verb" says 0 "[grant]  of function.conf" ""
run help publsh
case_is "a misspelt key is told with the right word" \
    says 2 "" "did you mean 'publish'?"
narrow() { ! grep -q '.\{81\}' <<<"$OUT"; }
for topic in function config lua scenario lines check queue; do
    run help $topic
    case_is "help $topic fits 80 columns" narrow
done
run help functoin
case_is "a misspelt topic is told with the right word" \
    says 2 "" "did you mean 'function'?"

# ---- new ----

run new "$dir/hello"
case_is "new makes a function" says 0 "hello/main.lua" "moonpool test"
run check "$dir/hello"
case_is "that has no mistakes" says 0 "" "hello: no mistakes"
run check --strict "$dir/hello"
case_is "nor anything to warn of" says 0 "" "hello: no mistakes"
run test "$dir/hello"
case_is "and passes its tests" says 0 "ok    " ""
run invoke "$dir/hello" --topic sensors/kiln-2/env --data '{"temp":31.4}'
case_is "and does something to see" \
    says 0 'publish  hello/kiln-2  qos 1  {"hot":true,"temp":31.4}' ""
run new "$dir/hello"
case_is "what is there stays" says 1 "" "is there already; take another name"
run new Hello
case_is "a name that can't be is wrong usage" says 2 "" "a name is a to z first"
for kind in every cron; do
    run new "$dir/by-$kind" --trigger $kind
    run test "$dir/by-$kind"
    case_is "one by $kind passes its own test" says 0 "ok    each run is told" ""
done
for kind in coap http; do
    run new "$dir/by-$kind" --trigger $kind
    run check --strict "$dir/by-$kind"
    case_is "one by $kind has no mistakes" says 0 "" "by-$kind: no mistakes"
    run test "$dir/by-$kind"
    case_is "and passes its own test" says 0 "ok    " ""
done
sed -i 's/^;auth/auth/; s/^;secret/secret/' "$dir/by-http/function.conf"
run check --strict "$dir/by-http"
case_is "the lines of by-http that wait for it can be taken" \
    says 0 "" "by-http: no mistakes"
run test "$dir/by-http"
case_is "and its test passes still" says 0 "ok    " ""
run new x --trigger board
case_is "other triggers come later" says 2 "" "board triggers come with a later release"

# ---- check ----

mkdir "$dir/overheat"
cat >"$dir/overheat/function.conf" <<'END'
[function]
name = overheat

[trigger readings]
mqtt = sensors/{device}/env
[grant]
publsh = alerts/#

[limits]
memory = 512K

timeout = 100
END
echo 'return print' >"$dir/overheat/main.lua"
run check "$dir/overheat"
case_is "mistakes have file, line and the right word" says 1 \
    "$dir/overheat/function.conf:7: unknown key 'publsh' in [grant]; did you mean 'publish'?
$dir/overheat/function.conf:12: timeout = 100: a duration has a unit, as in 100ms or 2m
2 mistakes in overheat" ""
run check --json "$dir/overheat"
case_is "as JSON, one object each" says 1 \
    "{\"level\":\"mistake\",\"file\":\"$dir/overheat/function.conf\",\"line\":7,\"text\":\"unknown key 'publsh' in [grant]; did you mean 'publish'?\"}" ""
mkdir -p "$dir/both"
"$moonpool" new "$dir/both/a" --trigger http >"$dir/stdout" 2>&1
cp -r "$dir/both/a" "$dir/both/b"
sed -i 's/^name = a/name = b/' "$dir/both/b/function.conf"
run check "$dir/both"
case_is "two functions that answer one path are warned of" says 0 \
    "both/b/function.conf:7: warning: /a/{source} of trigger 'hook' is answered by 'hook' of a, too; of the two one is served" "a: no mistakes"
run check "$dir/overheat/function.conf"
case_is "function.conf means its directory" says 1 "2 mistakes in overheat" ""
run check "$dir"
case_is "a directory means the functions in it" says 1 "2 mistakes in overheat" \
    "hello: no mistakes"

mkdir "$dir/loop"
printf '[trigger t]\nmqtt = a/+\n[grant]\npublish = a/#\n' >"$dir/loop/function.conf"
echo 'return print' >"$dir/loop/main.lua"
run check "$dir/loop"
case_is "a warning is no mistake" says 0 "function.conf:4: warning: publish = a/# covers trigger 't'" ""
run check --strict "$dir/loop"
case_is "unless --strict says so" says 1 "1 warning in loop" ""

echo 'return function(' >"$dir/loop/main.lua"
run check "$dir/loop"
case_is "main.lua is compiled, in a worker" says 1 "$dir/loop/main.lua:2: " ""
echo 'return {u = print}' >"$dir/loop/main.lua"
run check "$dir/loop"
case_is "each trigger needs its handler" says 1 "no handler for trigger 't'" ""
case_is "and each handler its trigger" says 1 "handler 'u' names no trigger" ""

cp -r "$dir/hello" "$dir/twin"
run check "$dir/hello" "$dir/twin"
case_is "of two with one name the second is a mistake" \
    says 1 "$dir/twin: another function is named 'hello', too" "hello: no mistakes"
run check "$dir/nothing"
case_is "what isn't there is told" says 1 "$dir/nothing: there is no such file or directory" ""

printf '[mqtt]\nurll = x\n' >"$dir/m.conf"
run check "$dir/m.conf"
case_is "moonpool.conf is checked, too" \
    says 1 "m.conf:2: unknown key 'urll' in [mqtt]; did you mean 'url'?" ""
printf '[coap]\npsk_file = file:%s\nlisten = coaps://127.0.0.1\n' "$dir/psk" >"$dir/m.conf"
echo "not a key" >"$dir/psk"
run check "$dir/m.conf"
case_is "so are the keys it names" says 1 "m.conf:2: psk_file: line 1 of the file is not identity:hex, a key of 1 to 64 bytes as pairs of hex digits
1 mistake in m.conf" ""
printf '%s\n' '-----BEGIN CERTIFICATE-----' >"$dir/c.pem"
printf '[http]\ncert = %s/c.pem\nkey = %s/c.pem\n' "$dir" "$dir" >"$dir/m.conf"
run check "$dir/m.conf"
case_is "and what is no key is none" says 1 "c.pem: there is no private key in PEM in it" ""

# ---- the host ----

run run --functions "$dir/nowhere"
case_is "no functions: a sentence" says 1 "" \
    "the directory of functions, $dir/nowhere, can't be read: No such file or directory; name another"
run run --functions "$dir" --data /proc/x
case_is "no place for data: a sentence" says 1 "" \
    "the data directory, /proc/x, can't be made: No such file or directory; name another with --data"

cases_end
