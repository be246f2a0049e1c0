local mp = require "moonpool"
local on = {}

local function tell(door, entered, left)
    mp.publish("doors/" .. door .. "/count",
               {entered = entered, left = left, inside = entered - left},
               {retain = true})
end

function on.passages(event)                    -- payload: in or out
    local way = event.data
    if way ~= "in" and way ~= "out" then mp.reject("neither in nor out") end
    mp.state.increment(way)
    tell(event.key, mp.state.get("in", 0), mp.state.get("out", 0))
end

function on.reset(event)
    mp.state.delete("in")
    mp.state.delete("out")
    tell(event.key, 0, 0)
end

return on
