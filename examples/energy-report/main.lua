local mp = require "moonpool"
local on = {}

function on.meters(event)                               -- {"kwh": 1031.4}
    mp.state.set("kwh", event:decode().kwh)
end

-- The timer has no key: it runs as the function's own actor, and reads every
-- meter's committed value.
function on.daily(event)
    local day = os.date("%Y-%m-%d", event.scheduled - 3600) -- that has ended
    local used, base = {}, mp.state.get("base", {})
    for _, meter in ipairs(mp.state.actors()) do
        local kwh = mp.state.of(meter):get("kwh")
        used[meter], base[meter] = kwh - (base[meter] or kwh), kwh
    end
    mp.state.set("base", base)
    mp.publish("reports/energy/" .. day, {day = day, kwh = used},
               {retain = true})
end

return on
