-- Asks for /svc-0001/64 … /svc-1000/64 in a fixed shuffled order, so that neither the first route nor the last one is what is measured.
-- The number of routes is the first argument after `--`: wrk … -s bench/lua/routes.lua URL -- 1000
dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "report.lua")

local requests, at = {}, 0

function init(args)
  local count = tonumber(args[1]) or 1000
  for i = 1, count do requests[i] = wrk.format("GET", string.format("/svc-%04d/64", i)) end
  math.randomseed(1)
  for i = count, 2, -1 do
    local j = math.random(i)
    requests[i], requests[j] = requests[j], requests[i]
  end
end

function request()
  at = at % #requests + 1
  return requests[at]
end
