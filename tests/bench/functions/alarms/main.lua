local mp = require "moonpool"
local on = {}

function on.readings()
    mp.alarm.set("later", {after = "2s"})
end

function on.alarm(event)
    mp.publish("alerts/" .. event.key, "silent")
end

return on
