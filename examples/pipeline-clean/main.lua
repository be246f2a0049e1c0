-- What this sends is durable before the reading it was made of is
-- acknowledged: pipeline-archive gets each good reading, once, however often
-- the box loses power.
local mp = require "moonpool"

return function(event)
    local reading = event:decode()
    local bar = tonumber(reading.pressure) or mp.reject("no pressure")
    if bar < 0 then mp.reject("a pressure below zero") end
    mp.send("pipeline-archive", {machine = event.params.machine, bar = bar},
            {key = event.params.machine})
end
