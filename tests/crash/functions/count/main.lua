local mp = require "moonpool"

-- Exactly once and in order: the nth count answers the nth event.
return function(event)
    local n = mp.state.increment("n")
    mp.publish("out/" .. event.key, n .. " " .. event.data)
end
