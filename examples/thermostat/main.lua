local mp = require "moonpool"
local on = {}

-- Text, JSON or CBOR: decode goes by the content type.
function on.set(event)
    local want = tonumber(event:decode())
    if not want or want < 5 or want > 30 then
        mp.reject("a setpoint is a number from 5 to 30")        -- 4.00
    end
    mp.state.set("want", want)
    mp.notify(event.path, want)                     -- observers of `get`
    mp.publish("rooms/" .. event.key .. "/setpoint", want, {retain = true})
end                                                 -- 2.04 once durable

function on.get(event)
    local want = mp.state.get("want")
    if want == nil then return mp.reply(404, "no setpoint for this room") end
    return want                                     -- 2.05
end

return on
