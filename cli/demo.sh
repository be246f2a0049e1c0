#!/usr/bin/env bash
# demo.sh - what `make run` runs: 100 simulated sensors burst through the
# functions in examples/, on a real broker.
#
#   cli/demo.sh [BUILD]
#
# It uses the broker at 127.0.0.1:1883 if one answers and takes us, else it
# starts mosquitto on a free loopback port with its data under build/.
# Ctrl-C (or SIGTERM, or closing the terminal) ends all that it started, by
# process id, and nothing else.  On a broker that isn't ours it takes back
# what would stay there: the session and the retained status.
# MOONPOOL_DEMO_PORT is the port where it looks for one, if not 1883.
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/lib.sh

build=${1:-build}
data=$build/demo
node=demo-$(id -u)
mkdir -p "$data"

# The first time only; the second Ctrl-C of an impatient person changes
# nothing, for by then all is on its way out.
stopped=
finish() {
    [ -z "$stopped" ] || return 0
    stopped=1
    trap '' INT TERM HUP
    end_all
    if [ -n "${THEIRS:-}" ]; then
        timeout 2 mosquitto_sub -h 127.0.0.1 -p "$PORT" -E \
            -i "moonpool-$node" -t moonpool/probe
        timeout 2 mosquitto_sub -h 127.0.0.1 -p "$PORT" -E \
            -i "moonpool-$node-out" -t moonpool/probe
        timeout 2 mosquitto_pub -h 127.0.0.1 -p "$PORT" -q 1 -r -n \
            -t "moonpool/$node/status"
    fi >/dev/null 2>&1
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
trap 'exit 141' PIPE

THEIRS=
PORT=${MOONPOOL_DEMO_PORT:-1883}
if broker_answers 127.0.0.1 "$PORT"; then
    URL=mqtt://127.0.0.1:$PORT THEIRS=1
    echo "using the broker at 127.0.0.1:$PORT"
else
    start_broker "$data/broker" "persistence false" || exit 1
    echo "started a broker at 127.0.0.1:$PORT (its log: $data/broker/mosquitto.log)"
fi

# Ports of our own, and the key that webhook checks signatures with.
broker=$PORT
free_port && http=$PORT
free_port && coap=$PORT
PORT=$broker
mkdir -p "$data/secrets/webhook"
(umask 077 && printf 'demo' >"$data/secrets/webhook/HOOK_KEY")
cat >"$data/moonpool.conf" <<END
[node]
name = $node
[paths]
secrets = $(realpath "$data")/secrets
[http]
listen = 127.0.0.1:$http
[coap]
listen = coap://127.0.0.1:$coap
END
echo "functions: $(echo examples/*/function.conf | sed 's|examples/||g; s|/function.conf||g')"
echo "try: mosquitto_pub -p $PORT -t sensors/kiln-2/env -m '{\"temp\":31.4}'    (Ctrl-C ends all)"
echo

# The first alerts, as any subscriber sees them; on a terminal they take the
# place of the live line, which is drawn again below.
clear=
[ -t 1 ] && clear=$'\r\033[K'
start ALERTS mosquitto_sub -h 127.0.0.1 -p "$PORT" -t 'alerts/#' -C 3 \
    -F "${clear}alert   %t  %p"

start HOST "$build/moonpool" run --config "$data/moonpool.conf" \
    --functions examples --data "$data" --mqtt "$URL" --live
start SENSORS "$build/sensors" --mqtt "$URL" --devices 100 --burst \
    >/dev/null

# Until somebody ends us, or one of them ends: then that is the news.
wait -n -p ended "$HOST" "$SENSORS"
status=$?
name=sensors
[ "$ended" != "$HOST" ] || name="the host"
echo "$name ended early (status $status)" >&2
exit 1
