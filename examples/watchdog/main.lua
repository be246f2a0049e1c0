local mp = require "moonpool"
local on = {}

-- "1h30m" in seconds
local function seconds(text)
    local units, sum = {ms = 0.001, s = 1, m = 60, h = 3600, d = 86400}, 0
    for n, unit in text:gmatch("(%d+)(%a+)") do sum = sum + n * units[unit] end
    return sum
end

-- The slack keeps a chatty device from moving its alarm, and so from writing
-- to the disk, with every message.
local slack = seconds(mp.env.SILENT) / 10

local function tell(device, silent)
    mp.publish("alerts/silent/" .. device, {silent = silent}, {retain = true})
end

function on.signs(event)
    mp.alarm.set("silent", {after = mp.env.SILENT, slack = slack})
    if mp.state.get("silent") then
        mp.state.delete("silent")
        tell(event.key, false)
    end
end

function on.alarm(event)
    mp.state.set("silent", true)
    tell(event.key, true)
end

return on
