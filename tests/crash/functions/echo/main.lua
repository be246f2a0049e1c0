local mp = require "moonpool"

return function(event)
    mp.publish("echo/" .. event.params.device, event.data .. " " .. event.data)
end
