#!/usr/bin/env bash
# long
# http.sh - functions that answer HTTP, asked by curl, by hand and by wrk.
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT

logged() { grep -q "$1" "$work/log"; }

# function_is NAME [LINE...]: its function.conf; main.lua is stdin.
function_is() {
    local name=$1
    shift
    mkdir -p "$work/f/$name"
    cat >"$work/f/$name/main.lua"
    printf '%s\n' "$@" >"$work/f/$name/function.conf"
}

# start_host [LINE...]: more lines of its [http].
start_host() {
    : >"$work/log"
    {
        echo "[paths]"
        echo "secrets = $work/secrets"
        echo "[http]"
        echo "listen = 127.0.0.1:$HTTP"
        echo "results_ttl = 2s"
        printf '%s\n' "$@"
    } >"$work/host.conf"
    start HOST "$BUILD/moonpool-host" --config "$work/host.conf" \
        --functions "$work/f" --data "$work/data" --mqtt mqtt://127.0.0.1:9 --workers 2 \
        2>>"$work/log"
    until_true 20 logged 'http: listening on' || {
        cat "$work/log"
        exit 1
    }
}
kill_host() {
    kill -KILL "$HOST"
    until_true 6 not runs "$HOST"
    end "$HOST"
}

free_port
HTTP=$PORT

# ---- the functions ----

function_is plain "[trigger get]" "http = GET /hello/{who}" \
    "[trigger put]" "http = PUT,DELETE,PATCH /hello/{who}" \
    "[trigger echo]" "http = POST /echo" \
    "[trigger status]" "http = GET /status/{n}" \
    "[trigger table]" "http = GET /table" \
    "[trigger reject]" "http = POST /reject" \
    "[trigger teapot]" "http = POST /teapot" \
    "[trigger fail]" "http = POST /fail" \
    "[trigger tiny]" "http = POST /tiny" "max_payload = 10" \
    "[trigger sleep]" "http = POST /function/sleep" \
    "[breaker]" "failures = 1000" <<'END'
local mp = require "moonpool"
local on = {}
function on.get(event)
    return "hello " .. event.params.who .. " " .. (event.query.a or "")
end
function on.put() end
function on.echo(event)
    return {method = event.method, path = event.path, data = event.data,
            type = event.datacontenttype, query = event.query,
            one = event.headers["x-one"], peer = event.peer}
end
function on.status(event)
    return mp.reply(tonumber(event.params.n), "text",
                    {headers = {["X-Answer"] = "42"}, max_age = 7})
end
function on.table() return {n = 1} end
function on.reject() mp.reject("not like this") end
function on.teapot() mp.reject("short and stout", {status = 418}) end
function on.fail() error("on purpose") end
function on.tiny(event) return event.data end
function on.sleep(event) mp.sleep(0.4) return event.data:upper() end
return on
END
function_is slow "[trigger slow]" "http = POST /slow" \
    "[limits]" "timeout = 200ms" <<'END'
return function() require "moonpool".sleep(5) end
END
function_is broken "[trigger broken]" "http = POST /broken" \
    "[breaker]" "failures = 2" "pause = 1m" <<'END'
return function() error("always") end
END
function_is narrow "[trigger narrow]" "http = POST /narrow" \
    "[limits]" "queue = 1" "[scale]" "max = 1" <<'END'
return function() require "moonpool".sleep(0.5) return "through" end
END
function_is guarded "[trigger token]" "http = POST /token" \
    "auth = token DOOR" "[trigger hmac]" "http = POST /hmac" \
    "auth = hmac HOOK X-Signature" "[grant]" "secret = DOOR, HOOK" <<'END'
return function(event)
    return event.headers.authorization or event.data
end
END
function_is count "[trigger count]" "http = POST /count/{key}" \
    "[trigger patient]" "http = POST /patient/{key}" \
    "[trigger read]" "http = GET /count/{key}" \
    "[state]" "key = {key}" "[grant]" "publish = counts/#" <<'END'
local mp = require "moonpool"
local on = {}
function on.count(event)
    if event.key == "told" then mp.publish("counts/told", "one more") end
    return mp.state.increment("n")
end
function on.patient()
    local n = mp.state.increment("n")
    mp.sleep(1)
    return n
end
function on.read() return mp.state.get("n", 0) end
return on
END
mkdir -p "$work/secrets/guarded"
(umask 077 && printf sesame >"$work/secrets/guarded/DOOR" &&
    printf thyme >"$work/secrets/guarded/HOOK")

start_host

# ---- curl ----

# ask METHOD PATH [OPTION...]: head and body in $work/answer.
ask() {
    local method=$1 path=$2
    shift 2
    curl -sS -i --path-as-is --max-time 8 -X "$method" "$@" \
        "http://127.0.0.1:$HTTP$path" >"$work/answer" 2>"$work/err"
}
# answers STATUS METHOD PATH [OPTION...]
answers() {
    local want=$1
    shift
    ask "$@"
    status_is "$want"
}
status_is() {
    grep '^HTTP' "$work/answer" | tail -n 1 | grep -q " $1 "
}
says() { grep -qF -- "$1" "$work/answer"; }
body_is() { [ "$(sed '1,/^\r$/d' "$work/answer")" = "$1" ]; }
header() { # NAME: its value
    sed -n "/^\r$/q; s/^$1: \(.*\)\r$/\1/Ip" "$work/answer"
}
problem() { # STATUS METHOD PATH [OPTION...]: problem details
    answers "$@" &&
        [ "$(header Content-Type)" = application/problem+json ] &&
        says "\"status\":$1"
}

# ---- a slow client: a byte a second; what became of it is at the end ----

slow_client() {
    exec 3<>"/dev/tcp/127.0.0.1/$1"
    printf 'GET /hello/x HTTP/1.1\r\nHost: ' >&3
    while ! read -r -t 1 line <&3; do printf x >&3 || break; done
    printf '%s\n' "$line"
    cat <&3
}
export -f slow_client
start SLOW bash -c "slow_client $HTTP" >"$work/slow" 2>&1

# ---- answers ----

case_is "GET is 200" answers 200 GET "/hello/world?a=1"
case_is "with a parameter and a query" body_is "hello world 1"
case_is "as text" [ "$(header Content-Type)" = "text/plain; charset=utf-8" ]
case_is "a level of a path is decoded" answers 200 GET /hello/a%20b
case_is "once" body_is "hello a b "
case_is "but holds no slash" problem 400 GET /hello/a%2Fb
case_is "nor what has a meaning in a topic" problem 400 GET /hello/%23
case_is "nothing returned is 204" answers 204 PUT /hello/x -d data
case_is "for every method" answers 204 DELETE /hello/x
case_is "HEAD has the same head" answers 200 HEAD /hello/world --head
case_is "and no body" body_is ""
echo_fits() {
    ask POST "/echo?q=a%20b&q2" -H 'X-One: 1' -H 'Content-Type: text/csv' \
        -d '1;2'
    says '"method":"POST"' && says '"path":"/echo"' && says '"data":"1;2"' &&
        says '"type":"text/csv"' && says '"query":{"q":"a b","q2":""}' &&
        says '"one":"1"' && says '"peer":"127.0.0.1"'
}
case_is "an event has all that was said" echo_fits
case_is "a body in chunks is one" answers 200 POST /echo \
    -H 'Transfer-Encoding: chunked' -d chunked
case_is "whole" says '"data":"chunked"'
case_is "mp.reply says the status" answers 203 GET /status/203
case_is "and headers" [ "$(header X-Answer)" = 42 ]
case_is "and how long it may be kept" [ "$(header Cache-Control)" = max-age=7 ]
case_is "a table is JSON" answers 200 GET /table
case_is "as it says" [ "$(header Content-Type)" = application/json ]
case_is "and is" body_is '{"n":1}'
ask GET /table -H 'Accept: application/cbor'
case_is "or CBOR, when that is asked for" \
    [ "$(header Content-Type)" = application/cbor ]
case_is "and is that" \
    [ "$(tail -c 4 "$work/answer" | od -An -tx1 | tr -d ' \n')" = a1616e01 ]
kept_alive() {
    curl -sS -w '%{num_connects} ' "http://127.0.0.1:$HTTP/hello/a" \
        "http://127.0.0.1:$HTTP/hello/b" | grep -q '^hello a 1 hello b 0 $'
}
case_is "a connection serves more than one request" kept_alive
pipelined() {
    exec 3<>"/dev/tcp/127.0.0.1/$HTTP"
    printf 'GET /hello/%s HTTP/1.1\r\nHost: h\r\n%s\r\n' one '' two \
        $'Connection: close\r\n' >&3
    timeout 5 cat <&3 | grep -ao 'hello [a-z]* ' | tr -d '\n' |
        grep -q '^hello one hello two $'
    local rc=$?
    exec 3>&-
    return "$rc"
}
case_is "also before the first is answered, in order" pipelined

# ---- problems ----

case_is "nobody answers there: 404" problem 404 GET /nowhere
case_is "not by this method: 405" problem 405 GET /echo
case_is "and by which" [ "$(header Allow)" = "POST, OPTIONS" ]
case_is "OPTIONS says it, too" answers 204 OPTIONS /hello/x
allows() { header Allow | grep -qw "$1"; }
case_is "all of them" allows GET
case_is "of every trigger" allows PATCH
case_is "what is rejected is 400" problem 400 POST /reject
case_is "with the reason" says 'not like this'
case_is "or its own status" problem 418 POST /teapot
case_is "what fails is 500" problem 500 POST /fail
case_is "and doesn't show where" not says main.lua
case_is "what takes too long is 504" problem 504 POST /slow
case_is "what is too large is 413" problem 413 POST /tiny -d 12345678901
case_is "in chunks, too" problem 413 POST /tiny -d 12345678901 \
    -H 'Transfer-Encoding: chunked'
case_is "and what isn't, is not" answers 200 POST /tiny -d 1234567890
case_is "a header of 20 KB is 431" answers 431 GET /hello/x \
    -H "X-Long: $(printf '%20000s' '' | tr ' ' x)"
ask POST /broken
ask POST /broken
case_is "a quarantined function is 503" until_true 2 problem 503 POST /broken
case_is "with Retry-After" [ "$(header Retry-After)" -ge 1 ]

crowd() {
    local n
    for n in 1 2 3 4; do
        curl -sS -i -X POST "http://127.0.0.1:$HTTP/narrow" \
            >"$work/crowd.$n" &
        CROWD+=($!)
    done
    wait "${CROWD[@]}"
    sed -n p "$work"/crowd.? >"$work/answer" # each ends its last line
}
CROWD=()
crowd
statuses() { awk '/^HTTP/ { print $2 }' "$work/answer" | sort | uniq -c | xargs; }
case_is "of four, two find no place" [ "$(statuses)" = "2 200 2 429" ]
case_is "and are told when to come again" says 'Retry-After: '

# Of 64 connections one address has 16.
many() {
    local n fd fds=() line
    for n in {1..17}; do
        exec {fd}<>"/dev/tcp/127.0.0.1/$HTTP" || return 1
        fds+=("$fd")
    done
    read -r -t 3 line <&"$fd"
    for fd in "${fds[@]}"; do exec {fd}>&-; done
    [[ $line == "HTTP/1.1 429 "* ]]
}
# One is the slow client's.
case_is "an address has so many connections and no more" many
case_is "when they are gone, it is answered again" \
    until_true 3 answers 200 GET /hello/x

# ---- who may ----

case_is "without the token it is 401" problem 401 POST /token
case_is "which says how" [ "$(header WWW-Authenticate)" = \
    'Bearer realm="moonpool"' ]
case_is "a wrong one is, too" problem 401 POST /token \
    -H 'Authorization: Bearer sesamE'
case_is "with it, it is answered" answers 200 POST /token \
    -H 'Authorization: Bearer sesame' -d in
case_is "the function doesn't see it" body_is in
signature=$(printf %s '{"a":1}' | openssl dgst -sha256 -hmac thyme -r)
signature=${signature%% *}
case_is "a signed body is answered" answers 200 POST /hmac -d '{"a":1}' \
    -H "X-Signature: sha256=$signature"
case_is "also without the prefix" answers 200 POST /hmac -d '{"a":1}' \
    -H "X-Signature: $signature"
case_is "another body is 401" problem 401 POST /hmac -d '{"a":2}' \
    -H "X-Signature: sha256=$signature"
case_is "one without a signature is" problem 401 POST /hmac -d '{"a":1}'

# ---- asynchronous ----

case_is "Prefer: respond-async is 202" answers 202 POST /function/sleep \
    -H 'Prefer: respond-async' -d abc
LOCATION=$(header Location)
is_location() { [[ $1 =~ ^/results/[0-9a-f]{32}$ ]]; }
case_is "with a location" is_location "$LOCATION"
ID=$(header X-Call-Id)
case_is "that is not its id" [ "/results/$ID" != "$LOCATION" ]
case_is "of which nobody reads it" problem 404 GET "/results/$ID"
case_is "there it is 202 while it runs" answers 202 GET "$LOCATION"
case_is "then 200" until_true 3 answers 200 GET "$LOCATION"
case_is "with what came back" body_is ABC
case_is "and 404 some time later" until_true 5 problem 404 GET "$LOCATION"
case_is "/async-function/ is the same" \
    answers 202 POST /async-function/sleep -d abc

# ---- many, while workers are killed ----

cat >"$work/wrk.lua" <<'END'
local threads = {}
function setup(thread) threads[#threads + 1] = thread end
function init() good, bad = 0, 0 end
function response(status, _, body)
    if status == 200 and tonumber(body) then
        good = good + 1
    else
        bad = bad + 1
        print(status, body)
    end
end
function done()
    print(("good=%d bad=%d"):format(threads[1]:get("good"),
                                    threads[1]:get("bad")))
end
wrk.method = "POST"
END
workers() {
    cat /proc/[0-9]*/stat 2>/dev/null | awk -v p="$HOST" '{
        pid = $1; sub(/^.*\) /, ""); if ($2 == p) print pid }'
}
start WRK wrk -t1 -c8 -d3s -s "$work/wrk.lua" \
    "http://127.0.0.1:$HTTP/count/wrk" >"$work/wrk" 2>&1
for _ in 1 2; do
    sleep 0.9 # in the middle of it
    kill -KILL "$(workers | head -n 1)"
done
wait "$WRK"
end "$WRK"
good=$(sed -n 's/^good=\([0-9]*\) .*/\1/p' "$work/wrk")
case_is "while workers are killed no answer is wrong" \
    grep -q '^good=[1-9][0-9]* bad=0$' "$work/wrk"
ask GET /count/wrk
counted=$(sed '1,/^\r$/d' "$work/answer")
# Those under way at the end were answered to nobody.
fits() { [ "$1" -ge 0 ] && [ "$1" -le 8 ]; }
case_is "and each was counted once" \
    fits "$((counted - good))"

# ---- the slow client ----

until_true 15 not runs "$SLOW"
end "$SLOW"
case_is "who sends a byte a second is told, and cut off" \
    grep -q '^HTTP/1.1 408 ' "$work/slow"

# ---- once ----

once() { answers 200 POST /count/once -H "Idempotency-Key: $1" && body_is "$2"; }
case_is "a key runs a request" once key-1 1
case_is "once" once key-1 1
case_is "another one again" once key-2 2
other() { # BODY QUERY COUNT: what else has the first key
    answers 200 POST "/count/once$2" -H "Idempotency-Key: key-1" -d "$1" &&
        body_is "$3"
}
case_is "the first one with a body, too" other 50 "" 3
case_is "and with a query" other 50 "?n=1" 4
case_is "each of them once" other 50 "?n=1" 4
both() { # at once, with one key
    curl -sS -o "$work/both.1" -w '%{http_code}\n' -X POST "$1" \
        -H 'Idempotency-Key: both' >>"$work/both" &
    local first=$!
    curl -sS -o "$work/both.2" -w '%{http_code}\n' -X POST "$1" \
        -H 'Idempotency-Key: both' >>"$work/both"
    wait "$first"
    [ "$(sort "$work/both" | xargs)" = "200 409" ]
}
case_is "while a request is in work, its key is 409" \
    both "http://127.0.0.1:$HTTP/patient/both"
case_is "what it publishes while no broker is there is kept, then it answers" \
    answers 200 POST /count/told
# What is in work when the host is killed has not happened.
curl -sS -X POST "http://127.0.0.1:$HTTP/patient/pump" \
    >"$work/patient" 2>"$work/patient.err" &
PATIENT=$!
connected() { # is anybody?
    awk -v at=":$(printf %04X "$HTTP")" \
        '$2 ~ at "$" && $4 == "01" { n++ } END { exit !n }' /proc/net/tcp
}
until_true 3 connected
sleep 0.3 # well within its second
ask POST /count/later -H 'Prefer: respond-async'
case_is "what is asked for later is accepted" status_is 202
ask POST /function/sleep -H 'Prefer: respond-async' -d abc
LATER=$(header Location)
kill_host
wait "$PATIENT"
case_is "who waits for a host that is killed sees the end" [ "$?" -ne 0 ]
case_is "and no answer" [ ! -s "$work/patient" ]
start_host
case_is "what it asked for has not happened" answers 200 GET /count/pump
case_is "at all" body_is 0
case_is "what had happened has" once key-1 1
case_is "and does not again" once key-2 2
later() { answers 200 GET /count/later && body_is "$1"; }
case_is "what was accepted happens" until_true 5 later 1
case_is "what was on its way has its answer where it was to be" \
    until_true 5 answers 200 GET "$LATER"

# ---- functions come and go ----

curl -sS -X POST "http://127.0.0.1:$HTTP/patient/mill" >"$work/patient" &
PATIENT=$!
until_true 3 connected
mv "$work/f/plain" "$work/plain"
printf thistle >"$work/secrets/guarded/DOOR"
function_is newcomer "[trigger t]" "http = GET /new" <<'END'
return function() return "here" end
END
kill -HUP "$HOST"
case_is "a new function is answered" until_true 5 answers 200 GET /new
case_is "one that is gone is not" problem 404 GET /hello/x
case_is "a new secret is the one" answers 200 POST /token -d in \
    -H 'Authorization: Bearer thistle'
case_is "the old one is not" problem 401 POST /token -d in \
    -H 'Authorization: Bearer sesame'
wait "$PATIENT"
case_is "who waited meanwhile is answered" [ "$(cat "$work/patient")" = 1 ]
mv "$work/plain" "$work/f/plain"

# ---- the end ----

curl -sS -X POST "http://127.0.0.1:$HTTP/patient/mill" >"$work/patient" &
PATIENT=$!
until_true 3 connected
sleep 0.3 # it runs
case_is "a host that is told to stop does" end "$HOST"
wait "$PATIENT"
case_is "and answers who waits" [ "$(cat "$work/patient")" = 2 ]

# ---- TLS, and from elsewhere ----

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 \
    -subj /CN=gateway -addext subjectAltName=IP:127.0.0.1 \
    -keyout "$work/key.pem" -out "$work/cert.pem" >"$work/openssl" 2>&1
start_host "cert = $work/cert.pem" "key = $work/key.pem"
secure() {
    curl -sS --max-time 5 "$@" "https://127.0.0.1:$HTTP/hello/x" \
        >"$work/answer" 2>&1
}
case_is "with a certificate it speaks TLS" secure --cacert "$work/cert.pem"
case_is "and answers" grep -q '^hello x ' "$work/answer"
case_is "1.2 at least" not secure --cacert "$work/cert.pem" --tls-max 1.1
case_is "and nothing else" not answers 200 GET /hello/x

# An address of this machine that is not loopback; nothing leaves it.
elsewhere() { # STATUS PATH [OPTION...]
    local want=$1 path=$2
    shift 2
    curl -sS -i --max-time 5 "$@" "http://$ELSEWHERE:$HTTP$path" \
        >"$work/answer" 2>"$work/err"
    status_is "$want"
}
ELSEWHERE=$(hostname -I | tr ' ' '\n' | grep -m 1 '^[0-9.]*$')
if [ -n "$ELSEWHERE" ]; then
    end "$HOST"
    start_host "listen = $ELSEWHERE:$HTTP"
    case_is "an address that isn't loopback is refused" \
        elsewhere 403 /hello/x
    case_is "but with a token" elsewhere 200 /token -X POST \
        -H 'Authorization: Bearer thistle'
    end "$HOST"
    start_host "listen = $ELSEWHERE:$HTTP" "open = yes"
    case_is "unless it is open" elsewhere 200 /hello/x
fi
case_is "it ends well" end "$HOST"
cases_end
