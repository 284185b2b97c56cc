-- POST of 10 KiB. By hand: wrk -t1 -c64 -d10s --latency -s bench/lua/post.lua http://127.0.0.1:8080/post
dofile((debug.getinfo(1, "S").source:match("^@(.*/)") or "./") .. "report.lua")

wrk.method = "POST"
wrk.body = string.rep("x", 10 * 1024)
wrk.headers["Content-Type"] = "application/octet-stream"
