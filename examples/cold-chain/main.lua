local mp = require "moonpool"
local high, clear = tonumber(mp.env.HIGH), tonumber(mp.env.CLEAR)
local on = {}

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
    mp.alarm.set("silent", {after = mp.env.SILENT, slack = "5m"})
end

function on.alarm(event)
    local s = mp.state.get("fridge")
    enter(s, event.key, event.alarm == "hold" and "alarm" or "silent")
    mp.state.set("fridge", s)
end

return on
