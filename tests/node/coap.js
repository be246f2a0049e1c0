/*
 * coap.js - the host's CoAP as another implementation speaks it: the package
 * `coap` for node.js.
 *
 *   node coap.js PORT
 *
 * Says "ok - SENTENCE" or "not ok - SENTENCE" for each case; tests/system/
 * coap.sh has the functions that answer.
 */
"use strict";
const coap = require("coap");

const port = Number(process.argv[2]);
const PATIENCE_MS = 8000;
let failed = 0;

function tell(yes, sentence, more) {
    if (!yes) failed++;
    console.log((yes ? "ok - " : "not ok - ") + "npm: " + sentence +
                (yes ? "" : " (" + more + ")"));
}

// Its response, when that is there.  options: those of coap.request, with
// payload and format.
function ask(method, path, options = {}) {
    return new Promise((resolve, reject) => {
        const [pathname, query] = path.split("?");
        const request = coap.request({
            host: "127.0.0.1", port, method, pathname, query, ...options});

        if (options.format)
            request.setOption("Content-Format", options.format);
        if (options.accept) request.setOption("Accept", options.accept);
        request.on("response", resolve);
        request.on("error", reject);
        request.end(options.payload);
    });
}

const text = (response) => response.payload.toString();

async function case_is(sentence, body) {
    try {
        tell(await body(), sentence, "it does not");
    } catch (error) {
        tell(false, sentence, error.message);
    }
}

// The values that an observer is told, as they come.
function watch(stream) {
    const seen = [], waiting = [];

    stream.on("data", (data) => {
        seen.push(data.toString());
        waiting.splice(0).forEach((look) => look());
    });
    return {
        seen,
        until: (n) => new Promise((resolve) => {
            const look = () =>
                seen.length >= n ? resolve(seen) : waiting.push(look);
            look();
        }),
    };
}

// A registration (observe true), or the end of it (1).  Each observer has an
// agent, that is, a socket, of its own: the package closes it with a stream.
const register = (agent, observe) => ask("GET", "/rooms/npm/want", {
    agent, observe, token: Buffer.from("moonpool")});

async function observe() {
    await ask("PUT", "/rooms/npm/want", {payload: "20"});

    const agent = new coap.Agent({type: "udp4"});
    const watched = watch(await register(agent, true));

    await watched.until(1);
    await ask("PUT", "/rooms/npm/want", {payload: "21"});
    await watched.until(2);
    await ask("PUT", "/rooms/npm/want", {payload: "22"});
    await watched.until(3);
    tell(watched.seen.join() === "20,21,22",
         "an observer is told each value", watched.seen.join());

    // Another one is told what this one would be.
    const other = watch(
        await register(new coap.Agent({type: "udp4"}), true));

    await other.until(1);
    await register(agent, 1);
    await ask("PUT", "/rooms/npm/want", {payload: "23"});
    await other.until(2);
    await ask("GET", "/hello/in-between");
    tell(watched.seen.length === 3, "one that wants no more is told no more",
         watched.seen.join());
}

async function main() {
    await case_is("GET has a parameter", async () => {
        const r = await ask("GET", "/hello/world?a=1");
        return r.code === "2.05" && text(r) === "hello world 1";
    });
    await case_is("PUT is 2.04", async () => {
        const r = await ask("PUT", "/hello/x", {payload: "{}",
                                                format: "application/json"});
        return r.code === "2.04" && text(r) === "";
    });
    await case_is("DELETE is 2.02", async () =>
        (await ask("DELETE", "/hello/x")).code === "2.02");
    await case_is("no function is 4.04", async () =>
        (await ask("GET", "/nowhere")).code === "4.04");
    await case_is("a table is JSON", async () => {
        const r = await ask("POST", "/table");
        return r.headers["Content-Format"] === "application/json" &&
            JSON.parse(text(r)).n === 1;
    });
    await case_is("or CBOR, when that is asked for", async () => {
        const r = await ask("POST", "/table", {accept: "application/cbor"});
        return r.payload.toString("hex") === "a1616e01";
    });
    await case_is("a request that is not confirmable is answered", async () => {
        const r = await ask("GET", "/hello/non", {confirmable: false});
        return text(r) === "hello non ";
    });
    await case_is("a response may come by itself", async () =>
        text(await ask("POST", "/sleep")) === "awake");
    await case_is("30 KB go up and down in blocks", async () => {
        let body = "";
        while (body.length < 30000) body += body.length + " ";
        const request = coap.request({host: "127.0.0.1", port, method: "POST",
                                      pathname: "/mirror"});
        request.setOption("Block1", Buffer.from([6]));
        const answer = new Promise((resolve, reject) => {
            request.on("response", resolve);
            request.on("error", reject);
        });
        request.end(body);
        return text(await answer) === body;
    });
    await observe();
}

setTimeout(() => {
    tell(false, "it ends in time", "after " + PATIENCE_MS + " ms");
    process.exit(1);
}, PATIENCE_MS);
main().then(() => process.exit(failed ? 1 : 0), (error) => {
    tell(false, "it ends well", error.stack);
    process.exit(1);
});
