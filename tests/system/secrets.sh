#!/usr/bin/env bash
# secrets.sh - what a function was granted to know: given, taken by a running
# host, needed by it, and never shown.
# builds: both
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh

moonpool=$(realpath "${BUILD:-build}")/moonpool
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT
export MOONPOOL_HOST=

logged() { grep -qF -- "$1" "$work/log"; }
# secret ARG...: its output, both of them, and its status.
secret() {
    OUT=$("$moonpool" secret "$@" --config "$work/conf" 2>&1)
    STATUS=$?
}
# says STATUS TEXT
says() {
    [ "$STATUS" -eq "$1" ] && [[ $OUT == *"$2"* ]] && return
    printf '# status %s: %s\n' "$STATUS" "$OUT"
    return 1
}
host() {
    : >"$work/log"
    start HOST "$BUILD/moonpool-host" --config "$work/conf" \
        --data "$work/data" --mqtt "$URL" --workers 1 2>"$work/log"
    until_true 20 logged 'host: ready' || cat "$work/log"
}
pub() { mosquitto_pub -p "$PORT" -q 1 -t "$1" -m "$2"; }
got() { grep -qxF -- "$1" "$work/out"; }

mkdir -p "$work/f/hook"
printf '[paths]\nfunctions = %s\nsecrets = %s\n' "$work/f" "$work/secrets" \
    >"$work/conf"
cat >"$work/f/hook/function.conf" <<'END'
[trigger in]
mqtt = hook/in
[grant]
publish = out/#
secret = HOOK_KEY
[breaker]
pause = 1h
max_pause = 1h
END
cat >"$work/f/hook/main.lua" <<'END'
local mp = require "moonpool"
return function(event)
    local key = mp.secret("HOOK_KEY")
    if event.data == "log" then
        mp.log.info("the key is " .. key, {key = key})
    elseif event.data == "fail" then
        error("no luck with " .. key)
    end
    mp.publish("out/length", #key)
    return {key = key}
end
END

# ---- the verb ----

secret ls
case_is "without any there is nothing to list" says 0 "no secrets in $work/s"
secret set hook HOOK_KEY </dev/null
case_is "no value is no secret" says 1 "a secret is 1 to 65536 bytes"
secret set hook hook_key <<<"x"
case_is "names are as in function.conf" says 2 "is A to Z first"
secret set hook
case_is "both names are needed" says 2 "moonpool secret set webhook HOOK_KEY"
secret set other KEY <<<"x"
case_is "a function that isn't there is pointed out" \
    says 0 "there is no function other in $work/f yet"
secret set hook KEY <<<"x"
case_is "so is a secret that nobody asks for" \
    says 0 "hook does not ask for it; put secret = KEY in [grant]"
secret rm hook KEY
case_is "one that was set can be removed" says 0 "secret KEY of hook is removed"
secret rm hook KEY
case_is "once" says 1 "hook has no secret KEY"
cp "$work/conf" "$work/fine"
printf '[coap]\npsk_file = file:%s/none-yet\n[nonsense]\n' "$work" >>"$work/conf"
secret set hook KEY <<<"x"
case_is "what else is wrong in moonpool.conf is another matter" \
    says 0 "secret KEY of hook is set"
secret ls
case_is "to each of its words" says 0 "KEY"
secret rm hook KEY
case_is "and is not told" not grep -q psk_file <<<"$OUT"
mv "$work/fine" "$work/conf"

# ---- a host ----

start_broker "$work/broker" "max_queued_messages 0" || exit 1
start SUB mosquitto_sub -p "$PORT" -q 1 -c -i checker -v -t 'out/#' \
    >"$work/out"
host
case_is "without its secret a function doesn't load" \
    logged "hook: secret HOOK_KEY of hook is missing; give it with: moonpool secret set hook HOOK_KEY --config $work/conf; nothing of it runs"
pub hook/in first
secret set hook HOOK_KEY <<<"hunter2-hunter2"
case_is "the verb says what comes next" says 0 "systemctl reload moonpool"
kill -s HUP "$HOST"
case_is "after a reload it runs, what waited too" \
    until_true 10 got "out/length 15"
secret ls
case_is "a list has its name" says 0 "hook"
case_is "and not its value" not grep -q hunter2 <<<"$OUT"

pub hook/in log
case_is "a log line has stars" until_true 10 logged 'the key is *** key=***'
pub hook/in fail
case_is "so has an error" until_true 10 logged 'no luck with ***'
OUT=$("$moonpool" dlq ls --store "$work/data" --json) STATUS=$?
case_is "and a dead letter" says 0 'no luck with ***'
OUT=$("$moonpool" send hook --trigger in --data x --wait --store "$work/data" \
    --json) STATUS=$?
case_is "and a result that a person sees" says 0 '"result":{"key":"***"}'

secret set hook HOOK_KEY <<<"hunter3"
kill -s HUP "$HOST"
until_true 10 logged 'hook: replaced'
pub hook/in x
case_is "another value is taken by a reload" until_true 10 got "out/length 7"
secret rm hook HOOK_KEY
kill -s HUP "$HOST"
case_is "without it what runs stays" \
    until_true 10 logged "hook: not replaced; 0.0.0 stays (a secret can't be had)"
pub hook/in log
hidden() { [ "$(grep -cF 'the key is *** key=***' "$work/log")" -eq 2 ]; }
case_is "and its value is hidden still" until_true 10 hidden
case_is "everywhere" not grep -q hunter "$work/log"

end "$HOST"
[ "$CASES_FAILED" -eq 0 ] || cat "$work/log"
cases_end
