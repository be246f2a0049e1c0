local mp = require "moonpool"
local every = math.tointeger(tonumber(mp.env.EVERY))
local on = {}

local function tell(machine)
    local n = mp.state.get("n", 0)
    if n == 0 then return end
    mp.publish("plant/" .. machine .. "/mean",
               {mean = mp.state.get("sum") / n, readings = n})
end

function on.send(event)                        -- from pipeline-clean
    mp.state.increment("sum", event:decode().bar)
    if mp.state.increment("n") % every == 0 then tell(event.key) end
end

function on.ask(event)
    tell(event.key)
end

return on
