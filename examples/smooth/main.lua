-- Much is dropped before any Lua runs: readings that hardly differ from the
-- last (deadband, but for one each 10 s), and of a burst all but the newest of
-- each second (coalesce).  That harms no mean that is weighted by time: a
-- reading counts for as long as it stood, and fades within some SECONDS.
-- The mean lives in the host's memory (durable = no): nothing is written, and
-- after a restart it begins with the next reading.
local mp = require "moonpool"
local seconds = tonumber(mp.env.SECONDS)

return function(event)
    local value = tonumber(event:decode()) or mp.reject("not a number")
    local last = mp.state.get("last") or
                 {value = value, mean = value, time = event.time}
    local stood = math.max(0, event.time - last.time)
    local mean = last.value +
                 (last.mean - last.value) * math.exp(-stood / seconds)
    mp.state.set("last", {value = value, mean = mean, time = event.time})
    mp.publish("smooth/" .. event.key .. "/value",
               math.floor(mean * 100 + 0.5) / 100, {retain = true})
end
