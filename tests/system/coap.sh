#!/usr/bin/env bash
# builds: both
# long
# coap.sh - functions that answer CoAP, asked by libcoap's client (UDP, TCP,
# DTLS with keys and with certificates), by the npm package `coap`, and by
# messages written by hand; and what damaged messages do to a host.
#
#   coap.sh                 everything, with a short storm
#   coap.sh storm UDP TCP   only a storm of so many messages (make storm)
set -u
cd "$(dirname "$0")/../.." || exit 1
. tests/lib.sh
work=$(mktemp -d)
trap 'end_all; rm -rf "$work"' EXIT
storm_udp=30000 storm_tcp=10000
if [ "${1:-}" = storm ]; then
    storm_udp=$2 storm_tcp=$3
fi

logged() { grep -q "$1" "$work/log"; }

# function NAME [LINE...]: its function.conf has the lines, main.lua is stdin.
function_is() {
    mkdir -p "$work/f/$1"
    cat >"$work/f/$1/main.lua"
    local name=$1
    shift
    printf '%s\n' "$@" >"$work/f/$name/function.conf"
}

# start_host [LINE...]: more lines of its [coap].
start_host() {
    : >"$work/log"
    {
        echo "[coap]"
        echo "listen = coap://127.0.0.1:$UDP, coap+tcp://127.0.0.1:$UDP"
        printf '%s\n' "$@"
    } >"$work/host.conf"
    start HOST "$BUILD/moonpool-host" --config "$work/host.conf" \
        --functions "$work/f" --data "$work/data" --mqtt mqtt://127.0.0.1:9 --workers 2 \
        2>>"$work/log"
    until_true 20 logged 'coap: listening on coap+tcp' || {
        cat "$work/log"
        exit 1
    }
}

# A host that is gone in the middle of anything, and back.
kill_host() {
    kill -KILL "$HOST"
    until_true 6 not runs "$HOST"
    end "$HOST"
}

free_port
UDP=$PORT

# ---- a storm of damaged messages ----

storm_functions() {
    function_is storm "[trigger get]" "coap = GET /temp/{id}" "observe = yes" \
        "[trigger put]" "coap = PUT,POST,DELETE,FETCH,PATCH,iPATCH /temp/{id}" \
        "[trigger rooms]" "coap = GET /rooms/{id...}" "observe = yes" \
        "[trigger later]" "coap = GET,POST,PUT /later/{id}" "async = yes" \
        "[trigger small]" "coap = GET,POST,PUT /small" "max_payload = 16" \
        "[limits]" "timeout = 1s" "[breaker]" "failures = 1000000" <<'END'
local on = {}
function on.get(event) return string.rep("t", 2000) end
function on.put(event) return #event.data end
function on.rooms(event) return event.path end
function on.later(event) return event.data end
function on.small(event) return event.data end
return on
END
}

resident() { awk '$1 == "VmRSS:" { print $2 }' "/proc/$HOST/status"; }
storm() {
    "$BUILD/coap_storm" --port "$UDP" --udp "$1" --tcp "$2" --seed "$3" \
        >"$work/storm" 2>&1 || { cat "$work/storm"; false; }
}
fill() { # PATH COUNT: with whole messages
    "$BUILD/coap_load" --port "$UDP" --peers 16 --count "$2" --path "$1" \
        --data "$(printf '%400s' '')" >"$work/load" 2>&1
}
# What is filled changes on: shorter answers that are remembered for longer
# ones (2 MB in all), in places that malloc finds.  800,000 messages more add
# 3 MB, and then none.
GROWTH=4096
storm_cases() {
    local before after
    # What has a bound is filled first: answers for repeats (16,384), results
    # (10,000 or 4 MB), and by a tenth of the storm bodies, peers, observers.
    case_is "there are more answers than are remembered" fill temp/a 20000
    case_is "and more results" fill later/a 10000
    case_is "a storm is lived through" storm $((storm_udp / 10)) \
        $((storm_tcp / 10)) 1
    before=$(resident)
    case_is "and more of it" storm "$storm_udp" "$storm_tcp" 2
    after=$(resident)
    case_is "by the same process" runs "$HOST"
    case_is "that nothing killed before" not logged 'a signal of its own'
    echo "# resident: $before KB, then $after KB"
    [ -n "${SANITIZED:-}" ] ||
        case_is "its memory is flat" [ $((after - before)) -le "$GROWTH" ]
}

if [ "${1:-}" = storm ]; then
    storm_functions
    start_host
    storm_cases
    case_is "it ends well" end "$HOST"
    cases_end
fi

# ---- the functions ----

function_is plain "[trigger get]" "coap = GET /hello/{who}" \
    "[trigger put]" "coap = PUT /hello/{who}" \
    "[trigger delete]" "coap = DELETE /hello/{who}" \
    "[trigger upper]" "coap = POST /upper" \
    "[trigger code]" "coap = POST /code/{n}" \
    "[trigger table]" "coap = POST /table" \
    "[trigger reject]" "coap = POST /reject" \
    "[trigger fail]" "coap = POST /fail" \
    "[trigger long]" "coap = GET /long" \
    "[trigger mirror]" "coap = POST /mirror" \
    "[trigger tiny]" "coap = POST /tiny" "max_payload = 10" \
    "[trigger sleep]" "coap = POST /sleep" \
    "[trigger later]" "coap = POST /later" "async = yes" \
    "[trigger status]" "coap = GET /status" "observe = yes" \
    "[trigger me]" "coap = GET /me" "auth = dtls" \
    "[breaker]" "failures = 1000" <<'END'
local mp = require "moonpool"
local on = {}
function on.get(event)
    return "hello " .. event.params.who .. " " .. (event.query.a or "")
end
function on.put() end
function on.delete() end
function on.upper(event) return event.data:upper() end
function on.code(event) return mp.reply(tonumber(event.params.n), "text") end
function on.table() return {n = 1} end
function on.reject() mp.reject("not like this") end
function on.fail() error("on purpose") end
function on.long()
    local lines = {}
    for n = 1, 3000 do lines[n] = ("line %04d"):format(n) end
    return table.concat(lines, "\n")
end
function on.mirror(event) return event.data end
function on.tiny(event) return event.data end
function on.sleep() mp.sleep(0.3) return "awake" end
function on.later(event) mp.sleep(0.3) return event.data:upper() end
function on.status() return "fine" end
function on.me(event) return "you are " .. event.identity end
return on
END
function_is slow "[trigger slow]" "coap = POST /slow" \
    "[limits]" "timeout = 200ms" <<'END'
return function() require "moonpool".sleep(5) end
END
function_is broken "[trigger broken]" "coap = POST /broken" \
    "[breaker]" "failures = 2" "pause = 1m" <<'END'
return function() error("always") end
END
function_is room "[trigger get]" "coap = GET /rooms/{room}/want" \
    "observe = yes" \
    "[trigger put]" "coap = PUT /rooms/{room}/want" \
    "[state]" "key = {room}" <<'END'
local mp = require "moonpool"
local on = {}
function on.get()
    local want = mp.state.get("want")
    if not want then return mp.reply(404, "nobody has said") end
    return want
end
function on.put(event)
    mp.state.set("want", event.data)
    mp.notify(event.path, event.data)
end
return on
END
function_is count "[trigger count]" "coap = POST /count/{key}" \
    "[trigger later]" "coap = POST /{key}/count" "async = yes" \
    "[trigger read]" "coap = GET /count/{key}" \
    "[state]" "key = {key}" <<'END'
local state = require "moonpool".state
local on = {}
function on.count() return state.increment("n") end
on.later = on.count
function on.read() return state.get("n", 0) end
return on
END
storm_functions

# ---- keys and certificates ----

printf 'pump-7:%s\n' "$(printf sesame | od -An -tx1 | tr -d ' \n')" >"$work/psk"
certificate() { # NAME: signed by ca
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -subj "/CN=$1" -keyout "$work/$1.key" -out "$work/$1.csr" &&
        openssl x509 -req -in "$work/$1.csr" -CA "$work/ca.pem" \
            -CAkey "$work/ca.key" -CAcreateserial -days 2 -out "$work/$1.pem"
}
{
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -days 2 -subj /CN=ca -keyout "$work/ca.key" -out "$work/ca.pem" &&
        certificate gateway && certificate sensor-3
} >"$work/openssl" 2>&1 || cat "$work/openssl"

free_port
DTLS=$PORT
start_host "listen = coaps://127.0.0.1:$DTLS" "psk_file = file:$work/psk" \
    "ca = $work/ca.pem" "cert = $work/gateway.pem" "key = $work/gateway.key"

# ---- libcoap's client ----

# ask METHOD URL [OPTION...]: the payload in $work/out; the code of an error,
# and its sentence, in $work/err.
ask() {
    local method=$1 url=$2
    shift 2
    coap-client-openssl -m "$method" -B 5 "$@" "$url" \
        >"$work/out" 2>"$work/err"
}
udp() {
    local method=$1 path=$2
    shift 2
    ask "$method" "coap://127.0.0.1:$UDP$path" "$@"
}
tcp() {
    local method=$1 path=$2
    shift 2
    ask "$method" "coap+tcp://127.0.0.1:$UDP$path" "$@"
}
key() {
    local method=$1 path=$2
    shift 2
    ask "$method" "coaps://127.0.0.1:$DTLS$path" -u pump-7 -k sesame "$@"
}
cert() {
    local method=$1 path=$2
    shift 2
    ask "$method" "coaps://127.0.0.1:$DTLS$path" -c "$work/sensor-3.pem" \
        -j "$work/sensor-3.key" -C "$work/ca.pem" -n "$@"
}
# gives TEXT COMMAND...: the payload, with the client's newlines or not
gives() {
    local want=$1
    shift
    "$@"
    [ "$(tr -d '\n' <"$work/out")" = "$want" ]
}
# refused CODE COMMAND...: the client prints an error's code and sentence
refused() {
    local want=$1
    shift
    "$@"
    grep -q "^$want" "$work/err"
}

for way in udp tcp key cert; do
    case_is "$way: GET, a parameter and a query" \
        gives "hello world 1" "$way" get "/hello/world?a=1"
    case_is "$way: PUT has no payload back" \
        gives "" "$way" put /hello/x -e data
    case_is "$way: POST has" gives ABC "$way" post /upper -e abc
    case_is "$way: DELETE" gives "" "$way" delete /hello/x
    case_is "$way: nobody answers there" refused 4.04 "$way" get /nowhere
    case_is "$way: not by this method" refused 4.05 "$way" put /upper -e x
    case_is "$way: a response that takes a while" \
        gives awake "$way" post /sleep
done

case_is "a key's name is who it is" gives "you are pump-7" key get /me
case_is "a certificate's, too" gives "you are sensor-3" cert get /me
case_is "without DTLS nobody is known" refused 4.01 udp get /me
case_is "not over TCP either" refused 4.01 tcp get /me
case_is "a wrong key gets no answer" \
    not gives "hello x " ask get "coaps://127.0.0.1:$DTLS/hello/x" \
    -u pump-7 -k mustard -B 1

case_is "mp.reply says the code" gives text udp post /code/203
case_is "also one of an error" refused 4.09 udp post /code/409
case_is "what is rejected is 4.00" refused "4.00 .*not like this" \
    udp post /reject
case_is "what fails is 5.00" refused 5.00 udp post /fail
case_is "and doesn't show where" not grep -q 'main.lua' "$work/out" "$work/err"
case_is "what takes too long is 5.04" refused 5.04 udp post /slow
case_is "what is too large is 4.13" refused 4.13 udp post /tiny -e 12345678901
case_is "and what isn't, is not" gives 1234567890 udp post /tiny -e 1234567890
udp post /broken
udp post /broken
case_is "a quarantined function is 5.03" \
    until_true 2 refused 5.03 udp post /broken

seq -f 'line %04g' 3000 | head -c -1 >"$work/long"
same_long() {
    rm -f "$work/got"
    "$@" -o "$work/got" && cmp "$work/long" "$work/got"
}
for way in udp tcp key; do
    case_is "$way: 30 KB come in blocks" same_long "$way" get /long
    case_is "$way: 30 KB go in blocks and come back" \
        same_long "$way" post /mirror -f "$work/long" -b 1024
done
links() { udp get /.well-known/core && grep -qF "$1" "$work/out"; }
case_is "what can be asked is listed" links '</long>'
case_is "and what can be observed" links ';obs'

# ---- messages written by hand ----

hex() { printf %s "$1" | od -An -v -tx1 | tr -d ' \n'; }
# message TYPE CODE ID PATH [DATA]: in hex; CON is 4, NON is 5
message() {
    local last=b part
    printf '%s4%s%s01020304' "$1" "$2" "$3"
    for part in ${4//\// }; do
        printf '%s%x%s' "$last" "${#part}" "$(hex "$part")"
        last=0
    done
    [ -z "${5:-}" ] || printf 'ff%s' "$(hex "$5")"
}
POST=02
# raw [OPTION...] HEX...: what came back, in $work/raw
raw() { "$BUILD/coap_raw" --port "$UDP" "$@" >"$work/raw"; }
raw_has() { grep -q "$1" "$work/raw"; }

raw --want 2 "$(message 4 $POST 1111 sleep)"
case_is "what takes a while is acknowledged first, with nothing" \
    [ "$(head -n 1 "$work/raw")" = "ACK 0.00 1111" ]
case_is "and answered by itself" raw_has '^CON 2.04 .* awake$'
raw "$(message 4 $POST 1112 upper abc)"
case_is "what doesn't is answered in the acknowledgement" \
    raw_has '^ACK 2.04 1112 .*ABC$'
raw "$(message 5 $POST 1113 upper abc)"
case_is "a message that isn't confirmable is answered by one" \
    raw_has '^NON 2.04 .*ABC$'
raw "$(message 4 $POST 1115 broken)"
case_is "who finds a function quarantined is told for how long" \
    raw_has '^ACK 5.03 1115 .*14=3[bc] '
raw 40001114
case_is "a ping is answered" raw_has '^RST 0.00 1114'

# The same message twice, and once more after the host was killed.
free_port
FROM=$PORT
once=$(message 4 $POST 2222 count/pump)
raw --from "$FROM" --want 2 "$once" "$once"
first=$(head -n 1 "$work/raw")
case_is "a message that comes twice runs once" \
    [ "$(sort -u "$work/raw" | wc -l)" -eq 1 ]
case_is "and is answered both times" [ "$(wc -l <"$work/raw")" -ge 1 ]
raw --from "$FROM" "$once"
case_is "with the same, also later" [ "$(cat "$work/raw")" = "$first" ]
raw "$(message 4 $POST 2224 kept/count)"
case_is "what is asked for later is accepted" raw_has '^ACK 2.04 2224'
kill_host
start_host
raw --from "$FROM" "$once"
case_is "also after the host was killed" [ "$(cat "$work/raw")" = "$first" ]
raw --from "$FROM" "$(message 4 $POST 2223 count/pump)"
case_is "another one runs" raw_has '^ACK 2.04 2223 .* 2$'

counted() { gives "$2" udp get "/count/$1"; }
case_is "what was accepted happens" until_true 5 counted kept 1

# ---- asynchronous ----

# result: the id that the last answer named.
result() {
    sed -n 's/.* 8=726573756c7473 8=\([0-9a-f]*\).*/\1/p' "$work/raw" |
        sed 's/../\\x&/g' | xargs -0 printf %b | tr -d '\n'
}
raw "$(message 4 $POST 3333 later abc)"
case_is "what is asynchronous is 2.04 when it is durable" \
    raw_has '^ACK 2.04 3333'
ID=$(result)
case_is "with a location" [ "${#ID}" -eq 32 ]
case_is "where it is 5.03 while it runs" refused 5.03 udp get "/results/$ID"
case_is "and then what it returned" \
    until_true 3 gives ABC udp get "/results/$ID"
case_is "others are 4.04" refused 4.04 udp get /results/0123456789abcdef

# ---- observers ----

observed() { tr '\n' ' ' <"$work/observed" | grep -q "$1"; }
udp put /rooms/cellar/want -e 19
start OBSERVER coap-client-openssl -w -s 30 -m get \
    "coap://127.0.0.1:$UDP/rooms/cellar/want" >"$work/observed" 2>&1
case_is "an observer is told what is" until_true 5 observed '^19 *$'
udp put /rooms/attic/want -e 3
udp put /rooms/cellar/want -e 21
case_is "and what it becomes" until_true 5 observed '^19 *21 *$'
udp put /rooms/cellar/want -e 22
case_is "each time" until_true 5 observed '^19 *21 *22 *$'
end "$OBSERVER" INT

# ---- another implementation ----

while read -r line; do
    case $line in
        "ok - "*) ok "${line#ok - }" ;;
        *) not_ok "${line#not ok - }" ;;
    esac
done < <(NODE_PATH=$PWD/build/node/node_modules node tests/node/coap.js "$UDP" 2>&1)

# ---- not from elsewhere ----

# An address of this machine that is not loopback; nothing leaves it.
ELSEWHERE=$(hostname -I | tr ' ' '\n' | grep -m 1 '^[0-9.]*$')
if [ -n "$ELSEWHERE" ]; then
    end "$HOST"
    start_host "listen = coap://$ELSEWHERE:$UDP"
    case_is "an address that isn't loopback gets 4.03" \
        refused 4.03 ask get "coap://$ELSEWHERE:$UDP/hello/x"
    end "$HOST"
    start_host "listen = coap://$ELSEWHERE:$UDP" "open = yes"
    case_is "unless it is open" \
        gives "hello x " ask get "coap://$ELSEWHERE:$UDP/hello/x"
fi

# ---- damaged messages ----

storm_cases
case_is "it answers as before" gives "hello world " udp get /hello/world
case_is "it ends well" end "$HOST"
cases_end
