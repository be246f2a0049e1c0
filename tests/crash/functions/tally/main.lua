local mp = require "moonpool"

local on = {}

function on.send(event)
    local n = mp.state.increment("n")
    mp.publish("sent/" .. event.key, n .. " " .. event.data)
end

function on.unused() end

return on
