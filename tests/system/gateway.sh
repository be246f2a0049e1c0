#!/usr/bin/env bash
# long
# gateway.sh - the examples on a real host, all at once, each spoken to as its
# sensors and clients do: MQTT with its bursts, CoAP over DTLS, signed HTTP.
# builds: both
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT
export MOONPOOL_HOST=

told() { grep -qE -- "^$1" "$work/told"; }
times() { [ "$(grep -cE -- "^$1" "$work/told")" -eq "$2" ]; }
say() { mosquitto_pub -p "$PORT" -q 1 -t "$1" -m "$2"; }
value() { timeout 10 "$BUILD/moonpool" state get "$@" --store "$work/data"; }
has() { [ "$(value "${@:2}" 2>/dev/null)" = "$1" ]; }

start_broker "$work/broker" || exit 1
start SUB mosquitto_sub -p "$PORT" -v -t 'machines/+/vibration' \
    -t 'smooth/#' -t 'alerts/#' -t 'rooms/#' -t 'hooks/#' >"$work/told"
until_true 10 grep -q "Sending SUBACK" "$work/broker/mosquitto.log"
broker=$PORT
free_port && http=$PORT
free_port && coap=$PORT
PORT=$broker
mkdir -p "$work/secrets/webhook"
(umask 077 && printf 'our key' >"$work/secrets/webhook/HOOK_KEY" &&
    printf 'panel:7365736d65\n' >"$work/psk")
cat >"$work/moonpool.conf" <<END
[node]
name = store-17
[paths]
secrets = $work/secrets
[http]
listen = 127.0.0.1:$http
[coap]
listen = coaps://127.0.0.1:$coap
psk_file = file:$work/psk
END
start HOST "$BUILD/moonpool-host" --config "$work/moonpool.conf" \
    --functions examples --data "$work/data" --mqtt "$URL" --workers 2 \
    2>"$work/log"
until_true 20 grep -q 'host: ready' "$work/log"
case_is "all examples are live" \
    not grep -qE ' (warn|error) ' "$work/log"

# ---- sensors in bursts ----

# +1 g, -1 g
burst() { printf '\0\020\0\360' | mosquitto_pub -p "$PORT" -t "$1" -s; }
for n in 1 2 3; do burst machines/lathe/accel; done
say machines/mill/accel odd
case_is "a window of bursts is one result" until_true 20 told \
    'machines/lathe/vibration \{"peak":1.0,"rms":1.0,"samples":6\}'
case_is "once" times machines/lathe 1
case_is "an odd one makes none" times machines/mill 0

for n in 20 20.01 20.02 21 22 23; do say noisy/tank/value "$n"; done
case_is "of a burst, the newest comes through" \
    until_true 20 told 'smooth/tank/value 23'
case_is "and nothing else" times smooth/ 1

say cold/f1/temp 9.0
case_is "a fridge that is warm is known" \
    until_true 20 has '{"phase":"warm","temp":9.0}' cold-chain fridge --key f1
say cold/f1/temp 9.1
say cold/f1/temp 9.3
case_is "what moves it by less than 0.2 is skipped" \
    until_true 20 has '{"phase":"warm","temp":9.3}' cold-chain fridge --key f1
kill -USR1 "$HOST"
case_is "and counted" until_true 10 grep -q 'skipped.*"cold-chain".*"deadband"} 1' \
    "$work/log"

# ---- the thermostat ----

room=coaps://127.0.0.1:$coap/rooms/attic/setpoint
ask() { timeout 10 coap-client-openssl -B 5 -u panel -k sesme "$@" "$room" 2>&1; }
case_is "a room without a setpoint has none" grep -q '4.04' <(ask -m get)
ask -m put -t text/plain -e 21.5 >"$work/put"
case_is "a setpoint is taken" [ ! -s "$work/put" ]
case_is "and told" until_true 10 told 'rooms/attic/setpoint 21.5'
case_is "and answered" grep -q '^21.5' <(ask -m get)
: >"$work/seen"
start WATCH timeout 60 coap-client-openssl -s 60 -u panel -k sesme -m get \
    "$room" >>"$work/seen" 2>&1
case_is "who observes sees it" until_true 10 grep -q 21.5 "$work/seen"
printf '\026' >"$work/cbor"
ask -m put -t application/cbor -f "$work/cbor"
case_is "CBOR is as good" until_true 10 told 'rooms/attic/setpoint 22'
case_is "and is seen at once" until_true 10 grep -q 22 "$work/seen"
case_is "what is none is refused" \
    grep -q '4.00' <(ask -m put -t text/plain -e 99)
case_is "so is who has another key" not grep -q '^22' <(
    timeout 5 coap-client-openssl -B 2 -u panel -k other -m get "$room" 2>&1)
end "$WATCH"

# ---- the webhook ----

# hook SIGNATURE BODY [CURL...]: the status, the answer in $work/answer.
hook() {
    curl -s -m 10 -o "$work/answer" -w '%{http_code}' \
        -H "X-Hub-Signature-256: $1" -H 'Content-Type: application/json' \
        --data "$2" "${@:3}" "http://127.0.0.1:$http/hooks/forge"
}
signed() {
    local sum
    sum=$(printf '%s' "$1" | openssl dgst -sha256 -hmac 'our key' -r)
    hook "sha256=${sum%% *}" "$@"
}
case_is "a signed hook is accepted" \
    [ "$(signed '{"ref":"main"}' -H 'X-GitHub-Event: push')" = 202 ]
case_is "and published" until_true 10 told \
    'hooks/forge \{"body":\{"ref":"main"\},"id":"[^"]*","kind":"push"\}'
case_is "a ping is answered" [ "$(signed '{"action":"ping"}')" = 200 ]
case_is "with a pong" [ "$(cat "$work/answer")" = pong ]
case_is "no JSON is 400" [ "$(signed '{"ref"')" = 400 ]
case_is "another signature is 401" [ "$(hook sha256=00 '{"ref":"evil"}')" = 401 ]
case_is "and nothing of it is published" times hooks/ 1

end "$HOST"
case_is "it stops cleanly" grep -q 'host: stopped' "$work/log"
[ "$CASES_FAILED" -eq 0 ] || cat "$work/log" "$work/told" "$work/seen"
cases_end
