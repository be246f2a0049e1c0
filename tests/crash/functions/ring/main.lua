local mp = require "moonpool"

local on = {}

function on.readings(event)
    if tonumber(event.data) % 10 == 0 then
        mp.alarm.set("due-" .. event.data, {after = "100ms", data = event.data})
    end
end

function on.alarm(event)
    local n = mp.state.increment("n")
    mp.publish("rang/" .. event.key, n .. " " .. event.data)
end

return on
