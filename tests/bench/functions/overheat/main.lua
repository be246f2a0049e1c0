local mp, json = require "moonpool", require "json"
local limit = tonumber(mp.env.LIMIT)           -- runs once, kept in the image

return function(event)                         -- runs per event, pristine
    local reading = json.decode(event.data)
    if reading.temp <= limit then return end
    mp.publish("alerts/" .. event.params.device,
               json.encode{ temp = reading.temp, limit = limit })
end
