local mp = require "moonpool"
local on = {}

local function tell(device, silent)
    mp.publish("alerts/silent/" .. device, {silent = silent}, {retain = true})
end

-- The slack keeps a chatty device from moving its alarm, and so from writing
-- to the disk, with every message.
function on.signs(event)
    mp.alarm.set("silent", {after = mp.env.SILENT, slack = "1m"})
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
