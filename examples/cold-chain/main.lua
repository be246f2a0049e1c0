local mp = require "moonpool"
local high, clear = tonumber(mp.env.HIGH), tonumber(mp.env.CLEAR)
local on = {}

-- "1h30m" in seconds
local function seconds(text)
    local units, sum = {ms = 0.001, s = 1, m = 60, h = 3600, d = 86400}, 0
    for n, unit in text:gmatch("(%d+)(%a+)") do sum = sum + n * units[unit] end
    return sum
end

local slack = seconds(mp.env.SILENT) / 10

local function enter(s, key, phase)
    s.phase = phase
    mp.publish("alerts/cold/" .. key, s, {retain = true})
end

function on.readings(event)
    local temp = tonumber(event:decode()) or mp.reject("not a temperature")
    local s = mp.state.get("fridge", {phase = "ok"})
    s.temp = temp
    if s.phase == "silent" then enter(s, event.key, "ok") end
    if s.phase == "ok" and temp > high then
        s.phase = "warm"                        -- may be an open door: wait
        mp.alarm.set("hold", {after = mp.env.HOLD})
    elseif s.phase == "warm" and temp <= high then
        s.phase = "ok"
        mp.alarm.cancel("hold")
    elseif s.phase == "alarm" and temp < clear then
        enter(s, event.key, "ok")
    end
    mp.state.set("fridge", s)
    mp.alarm.set("silent", {after = mp.env.SILENT, slack = slack})
end

function on.alarm(event)
    local s = mp.state.get("fridge")
    enter(s, event.key, event.alarm == "hold" and "alarm" or "silent")
    mp.state.set("fridge", s)
end

return on
