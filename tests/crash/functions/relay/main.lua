local mp = require "moonpool"

return function(event)
    mp.send("tally", event.data, {key = event.params.device})
end
