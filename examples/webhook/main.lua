-- The host checks the signature before any Lua runs, and the answer leaves
-- when the broker or the disk has the message.
local mp = require "moonpool"

return function(event)
    local body = event:decode()                         -- malformed: 400
    if body.action == "ping" then return "pong" end     -- 200
    mp.publish("hooks/" .. event.params.source, {
        id = event.id, body = body,
        kind = event.headers["x-github-event"] or "unknown",
    })
    return mp.reply(202, {accepted = event.id})
end
