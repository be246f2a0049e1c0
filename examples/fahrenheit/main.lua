local mp = require "moonpool"

return function(event)
    local reading = event:decode()      -- not JSON: rejected, and that is all
    local temp = tonumber(reading.temp)
    if not temp then return end         -- a sensor without a thermometer
    mp.publish("fahrenheit/" .. event.params.device, {
        temp = math.floor(temp * 18 + 320.5) / 10,
        seq = reading.seq,
    })
end
