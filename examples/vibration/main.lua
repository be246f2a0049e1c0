-- QoS 0 from end to end: not a byte of it goes to flash.
local mp = require "moonpool"

return function(event)
    local n, sum, peak = 0, 0, 0
    for _, burst in ipairs(event.events) do
        if #burst.data % 2 ~= 0 then
            burst:reject("odd number of bytes")
        else
            for at = 1, #burst.data, 2 do   -- little-endian, 4096 = 1 g
                local g = string.unpack("<i2", burst.data, at) / 4096
                n, sum, peak = n + 1, sum + g * g, math.max(peak, math.abs(g))
            end
        end
    end
    if n == 0 then return end
    mp.publish("machines/" .. event.params.machine .. "/vibration",
               {rms = (sum / n) ^ 0.5, peak = peak, samples = n}, {qos = 0})
end
