-- Publish to runaway/loop, runaway/hoard, ... and watch what becomes of it.
local mp = require "moonpool"

local ways = {
    calm = function() end,

    loop = function() while true do end end,

    stubborn = function()           -- no pcall catches a deadline
        while true do pcall(function() while true do end end) end
    end,

    hoard = function()
        local pile = {}
        while true do pile[#pile + 1] = ("x"):rep(1000) .. #pile end
    end,

    dig = function()
        local function dig(n) return 1 + dig(n + 1) end
        return dig(1)
    end,

    stall = function()              -- for hours inside one call of C
        return (("a"):rep(10000)):find((".-"):rep(8) .. "b")
    end,

    nap = function() mp.sleep("1h") end,

    trespass = function() mp.publish("alerts/all", "fire!") end,
}

return function(event)
    local way = ways[event.params.way] or mp.reject("no such way")
    way()
    mp.publish("survived/" .. event.params.way, event.data)
end
