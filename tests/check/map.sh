#!/usr/bin/env bash
# map.sh - reads every #include and names the line that leaves the map.
#
# The map (docs/ARCHITECTURE.md) has two rules.  A folder may include only
# what lies below it; transports are peers and include each other never.  A
# library has one door: the files named here and no other may include it.
#
#   tests/check/map.sh [DIR]     of the tree at DIR; 1 when a line leaves it
set -u
cd "${1:-$(dirname "$0")/../..}" || exit 1

find core luart transports ota boards cli tests -name '*.[ch]' -print0 \
    2>/dev/null | LC_ALL=C sort -z | xargs -0 -r awk '
BEGIN {
    # who may include which folder of ours
    may["base"] = "base"
    may["core"] = "base core"
    may["luart"] = "base luart"
    may["transports"] = "base core transports"
    may["ota"] = "base core ota"
    may["boards"] = "base core boards"
    may["cli"] = "base core luart transports ota boards cli"
    may["tests"] = may["cli"] " tests"

    # headers of libraries, and their one door
    door("^mosquitto(_[a-z]+)?\\.h$|^mqtt_protocol\\.h$", "^transports/mqtt")
    door("^(lua|lauxlib|lualib|luaconf)\\.h$", "^luart/")
    door("^uv\\.h$", "^(core|transports|cli)/")
    door("^ini\\.h$", "^core/ini\\.c$")
    door("^seccomp\\.h$", "^luart/cage\\.c$")
    door("^sqlite3\\.h$", "^core/store[_a-z]*\\.[ch]$")
    door("^coap", "^transports/coap")
    door("^microhttpd\\.h$", "^(core/api/|transports/http)")
    door("^mbedtls/", "^(ota/|transports/http_auth)")
    door("^cmocka\\.h$", "^tests/unit/")

    # what is libc and the kernel
    libc = "^(sys|linux|net|netinet|arpa|asm|sanitizer)/"
    n = split("assert ctype dirent dlfcn elf endian errno fcntl fenv " \
        "float fnmatch getopt glob grp inttypes langinfo libgen limits " \
        "link locale malloc math netdb poll pthread pwd sched search " \
        "semaphore setjmp signal spawn stdalign stdarg stdatomic stdbool " \
        "stddef stdint stdio stdlib stdnoreturn string strings syslog " \
        "termios threads time tgmath uchar ucontext unistd wchar wctype " \
        "ifaddrs", names, " ")
    for (i = 1; i <= n; i++)
        is_libc[names[i] ".h"] = 1
}

function door(header, file) { headers[++doors] = header; files[doors] = file }

# A file called so is in this part of the house.
function part(file) {
    if (file ~ /^core\/base\//) return "base"
    return substr(file, 1, index(file, "/") - 1)
}

# transports/mqtt_lane.c and transports/mqtt.h are one peer: mqtt.
function peer(file) {
    sub(/^transports\//, "", file)
    sub(/[_.].*$/, "", file)
    return file
}

function say(what) {
    printf "%s:%d: %s\n", FILENAME, FNR, what
    bad = 1
}

function ours(header,    from, to) {
    from = part(FILENAME)
    to = part(header)
    if (index(header, "/") == 0 || !(to in may)) {
        say("\"" header "\": a header of ours is named from the top, as in " \
            "\"core/base/why.h\"")
        return
    }
    if (index(" " may[from] " ", " " to " ") == 0)
        say((from == "base" ? "core/base" : from) " may not include " \
            (to == "base" ? "core/base" : to) ": \"" header "\"")
    else if (from == "transports" && to == "transports" &&
             peer(FILENAME) != peer(header))
        say("transports never include each other: \"" header "\"")
}

function theirs(header,    i) {
    if (header in is_libc || header ~ libc)
        return
    for (i = 1; i <= doors; i++)
        if (header ~ headers[i]) {
            if (part(FILENAME) != "tests" && FILENAME !~ files[i])
                say("<" header "> has one door, " files[i] ", and this is " \
                    "not it")
            return
        }
    say("<" header "> is no header of libc nor of a library on the map")
}

/^[ \t]*#[ \t]*include/ {
    line = $0
    sub(/^[ \t]*#[ \t]*include[ \t]*/, "", line)
    if (line ~ /^"[^"]*"/) {
        sub(/^"/, "", line); sub(/".*/, "", line); ours(line)
    } else if (line ~ /^<[^>]*>/) {
        sub(/^</, "", line); sub(/>.*/, "", line); theirs(line)
    } else
        say("an #include the map cannot read: " $0)
}
END { exit bad }
'
