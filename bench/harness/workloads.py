"""The table of workloads. A new one is one row here; `--only` takes these names."""

from __future__ import annotations

from harness.jwt import TOKEN
from harness.model import L4, Workload

# nginx: `deferred`, HAProxy: `defer-accept`; a request a connection is what these are for.
_CLOSE = {"nginx": ("", "deferred"), "haproxy": ("", "deferred"), "floor": ("close",)}
# Copies in big pieces, or no buffering at all: which one is cheaper depends on the kernel, so both run.
_BIG = {"nginx": ("", "unbuffered"), "haproxy": ("", "64k", "auto"), "floor": ("splice", "copy256k")}
# Hits. nginx sends files of a tmpfs, by sendfile or by reading them; Varnish writes its log to shared memory, or nothing at all.
_HIT = {"nginx": ("", "read"), "varnish": ("", "nolog"), "floor": ("answer",)}
_HIT_BIG = {**_HIT, "haproxy": ("", "64k"), "floor": ("answer", "file")}

# Limits and tokens, each beside the same contestant without ("open").
_LIMITED = {"nginx": ("", "open"), "haproxy": ("", "open"), "proxyd": ("", "open")}
_ALONE = {"nginx": (), "haproxy": (), "floor": ()}

# Below HTTP. HAProxy has no UDP. Which copy buffer, and which way of splicing, is cheaper depends on the kernel.
_L4_BIG = {"nginx": ("", "64k", "256k"), "haproxy": ("", "auto", "splice"), "floor": ("splice", "copy256k")}
_L4_UDP = {"haproxy": (), "floor": ("udp",)}

WORKLOADS: tuple[Workload, ...] = (
    Workload("64b-c64", "64-byte answers, 64 connections", variants={"nginx": ("", "leanid")}),
    Workload("64b-c1", "64-byte answers, 1 connection", connections=1),
    Workload("64b-c256", "64-byte answers, 256 connections", connections=256),
    Workload("10k", "10 KiB answers, 64 connections", path="/10k"),
    Workload("1m", "1 MiB answers, 16 connections", path="/1m", connections=16, big=True, variants=_BIG),
    Workload("post-10k", "POST of 10 KiB, 64 connections", path="/post", script="post.lua", variants={"nginx": ("", "unbuffered")}),
    Workload("close", "64-byte answers, a new connection for every request, 64 at a time", close=True, variants=_CLOSE),
    Workload("routes-1000", "64-byte answers, 64 connections, 1,000 routes", script="routes.lua", script_args=("1000",), routes=1000),
    Workload("servers-100", "64-byte answers, 64 connections, 100 servers", servers=100),
    Workload("log", "64-byte answers, 64 connections, JSON access log to a file", access_log=True),
    Workload("memory-answer", "64-byte answers from the proxy's memory, 64 connections", from_memory=True, variants={"floor": ("answer",)}),
    Workload("hit-64b-c64", "hits of 64 bytes, 64 connections", path="/hit/64", cached=True, variants=_HIT),
    Workload("hit-10k", "hits of 10 KiB, 64 connections", path="/hit/10k", cached=True, variants=_HIT),
    Workload("hit-1m", "hits of 1 MiB, 16 connections", path="/hit/1m", connections=16, cached=True, big=True, variants=_HIT_BIG),
    Workload("refused", "refusals by a limit, 64 connections", policy="refused", variants={"floor": ()}),
    Workload("limited", "64-byte answers, 64 connections, a limit that all pass", policy="limited", baseline="open", variants=_LIMITED),
    Workload(
        "limited-1m", "a limit by a header field: 1,000,000 keys beside 100", script="keys.lua", script_args=("1000000",), policy="keys",
        baseline="100", warm_up_seconds=60, variants={**_ALONE, "proxyd": ("100", "1m")},
    ),
    Workload(
        "jwt", "64-byte answers, 64 connections, a token that is verified", policy="jwt", fields=(f"Authorization: Bearer {TOKEN}",),
        baseline="open", variants={**_ALONE, "proxyd": ("", "open")},
    ),
    Workload("idle-10k", "memory of 10,000 idle keep-alive connections", idle_connections=10_000, variants={"floor": ()}),
    Workload("l4-small", "TCP: 64-byte messages and answers, 64 connections", l4=L4()),
    Workload("l4-1k", "TCP: 1 KiB messages and answers, 64 connections", l4=L4(message=1024)),
    Workload("l4-1m", "TCP: 1 MiB answers, 16 connections", connections=16, l4=L4(answer=1 << 20, unit="MiB"), variants=_L4_BIG),
    Workload(
        "l4-1m-new", "TCP: 1 MiB answers, a new connection for each, 16 at a time", connections=16,
        l4=L4(answer=1 << 20, fresh=True, unit="MiB"), variants=_L4_BIG,
    ),
    # eight servers, for with one the ports in TIME_WAIT are what is measured
    Workload(
        "l4-connect", "TCP: connect, 64 bytes and back, close; 64 at a time", servers=8, l4=L4(fresh=True, unit="connection"),
        variants={"haproxy": ("", "smart"), "nginx": ("", "half")},
    ),
    # 128 at a time, for a socket's default buffer holds 277 such datagrams: more would measure how many are lost
    Workload(
        "l4-udp-64", "UDP: 64-byte datagrams and answers, 1,000 flows, 128 at a time", connections=1000, servers=4,
        l4=L4("udp", window=128), variants=_L4_UDP,
    ),
    Workload("l4-idle", "TCP: memory of 10,000 idle flows", l4=L4(), idle_connections=10_000, variants={"floor": ()}),
)

QUICK = ("64b-c64", "1m", "close")


def select(names: str | None, quick: bool) -> list[Workload]:
    """The workloads named in a comma-separated list, in which `l4` is all whose names begin so; all without a list.

    ValueError names what does not exist.
    """
    if names is None:
        return [w for w in WORKLOADS if not quick or w.name in QUICK]
    known = {w.name: w for w in WORKLOADS}
    wanted: list[str] = []
    for name in (n.strip() for n in names.split(",") if n.strip()):
        wanted += [n for n in known if n.startswith("l4-")] if name == "l4" else [name]
    unknown = [n for n in wanted if n not in known]
    if unknown:
        raise ValueError(f"no workload {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[n] for n in wanted]
