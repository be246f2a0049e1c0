local mp = require "moonpool"

-- What the letters mean, and what a sound sensor can say.
local fields = {
    T = {name = "temp", least = -40, most = 125},
    H = {name = "hum", least = 0, most = 100},
}

local function read(part, reading)
    local letter, text = part:match("^%s*(%a)=(%S+)%s*$")
    local field = fields[letter] or mp.reject("no field: " .. part)
    local value = tonumber(text) or mp.reject("no number: " .. part)
    if value < field.least or value > field.most then
        mp.reject("out of range: " .. part)
    end
    reading[field.name] = value
end

return function(event)
    local reading = {}
    for part in event.data:gmatch("[^;]+") do read(part, reading) end
    if not next(reading) then mp.reject("nothing in it") end
    mp.publish("clean/" .. event.params.device, reading)
end
