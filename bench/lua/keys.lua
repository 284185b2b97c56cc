-- Two keys in each request, X-Few of a hundred and X-Many of as many as the argument behind `--` says: which one is counted by is the
-- proxy's affair, and the load is the same. From a place that another run does not begin at, in an order in which neighbours are far
-- apart, so that every key comes once before one comes twice.
dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "report.lua")

local STEP = 618033  -- has no factor in common with the counts that are used
local count, at, before, after = 1000000, 0, "", ""

function init(args)
  count = tonumber(args[1]) or count
  math.randomseed(os.time())
  at = math.random(count)
  before = "GET " .. wrk.path .. " HTTP/1.1\r\nHost: " .. wrk.headers["Host"] .. "\r\nX-Few: "
  after = "\r\n\r\n"
end

function request()
  at = (at + STEP) % count
  return before .. string.format("key-%02d\r\nX-Many: key-%07d", at % 100, at) .. after
end
