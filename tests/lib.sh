# shellcheck shell=bash
# lib.sh - what every script that starts programs needs: a broker of its own,
# waiting with an end, and an end that leaves nothing behind.
#
# Source it first.  What `start` starts is ended, by its process id, when the
# script ends, however it ends; nothing else is ever signalled.

PATH=$PATH:/usr/sbin:/sbin

# Process ids that we started and have not ended.
STARTED=()

# start VAR COMMAND...: run it in the background, its id in VAR.  It has a
# session of its own, so that Ctrl-C comes to us alone and the end has an
# order; it gets SIGTERM should we be killed where no trap helps (so never
# call this in a subshell); and SIGINT means to it what it means to others,
# which bash would have it ignore.
start() {
    local -n start_id=$1
    shift
    setsid setpriv --pdeathsig TERM env --default-signal=INT,QUIT "$@" &
    start_id=$!
    STARTED+=("$start_id")
}

# Is it still a child of ours?  An id we have waited for may be anybody's.
is_ours() { [[ $(cat "/proc/$1/stat" 2>/dev/null) == *") "?" $$ "* ]]; }
runs() { is_ours "$1" && [[ $(cat "/proc/$1/stat" 2>/dev/null) != *") Z "* ]]; }

# end PID [SIGNAL]: end what start started; SIGKILL after 6 s.  Its exit
# status.
end() {
    local pid=$1 kept=() one rc
    if runs "$pid"; then
        kill -s "${2:-TERM}" "$pid" 2>/dev/null
        until_true 6 not runs "$pid" || kill -KILL "$pid" 2>/dev/null
    fi
    wait "$pid" 2>/dev/null
    rc=$?
    for one in "${STARTED[@]}"; do
        [ "$one" = "$pid" ] || kept+=("$one")
    done
    STARTED=("${kept[@]}")
    return "$rc"
}

end_all() {
    local at
    for ((at = ${#STARTED[@]} - 1; at >= 0; at--)); do
        end "${STARTED[at]}"
    done
}
trap end_all EXIT

not() { ! "$@"; }

# until_true SECONDS COMMAND...: try it every 20 ms; 1 when time is up.
until_true() {
    local tries=$((${1} * 50))
    shift
    while ! "$@"; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || return 1
        sleep 0.02
    done
}

# listens PORT: does anything answer on loopback?
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A port nobody listens on, in PORT.
free_port() {
    while :; do
        PORT=$((20000 + (RANDOM * 32768 + RANDOM) % 12000))
        listens "$PORT" || return 0
    done
}

# start_broker DIR [LINE...]: mosquitto on a free loopback port, its config
# and log in DIR, the lines added to its config.  Sets BROKER (process id),
# PORT and URL.
start_broker() {
    local dir=$1 try line
    shift
    mkdir -p "$dir"
    for try in 1 2 3 4 5; do
        free_port
        {
            echo "listener $PORT 127.0.0.1"
            echo "allow_anonymous true"
            [ "$(id -u)" -ne 0 ] || echo "user $(id -un)"
            for line in "$@"; do
                echo "$line"
            done
        } >"$dir/mosquitto.conf"
        start BROKER mosquitto -c "$dir/mosquitto.conf" \
            >"$dir/mosquitto.log" 2>&1
        if until_true 5 broker_is_up; then
            # shellcheck disable=SC2034 # for who sources us
            URL=mqtt://127.0.0.1:$PORT
            return 0
        fi
        end "$BROKER"
    done
    echo "mosquitto does not start after $try tries:" >&2
    cat "$dir/mosquitto.log" >&2
    return 1
}

# Ours, that is, and not whoever took the port a moment before.
broker_is_up() { runs "$BROKER" && listens "$PORT"; }

# A real CONNECT and SUBSCRIBE at HOST PORT: is that a broker that takes us?
broker_answers() {
    listens "$2" &&
        timeout 3 mosquitto_sub -h "$1" -p "$2" -E -t moonpool/probe \
            >/dev/null 2>&1
}

# ---- for system tests: each sentence is a case ----

CASES_FAILED=0
# ok SENTENCE / not_ok SENTENCE: count it, go on.
ok() { echo "ok - $*"; }
not_ok() {
    echo "not ok - $*"
    CASES_FAILED=$((CASES_FAILED + 1))
}
# case_is SENTENCE COMMAND...: ok when the command succeeds.
case_is() {
    local sentence=$1
    shift
    if "$@"; then ok "$sentence"; else not_ok "$sentence ($*)"; fi
}
# The last line of a system test.
cases_end() { exit "$((CASES_FAILED > 0))"; }
