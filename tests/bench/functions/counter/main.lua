local mp = require "moonpool"

return function(event)
    local n = mp.state.increment("n")
    if n % 100 == 0 then
        mp.publish("alerts/" .. event.key, {count = n})
    end
end
