"""Fills the @WORDS@ of bench/peers/* for one contestant under one workload. Pure: text in, text out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.model import Workload


@dataclass(frozen=True, slots=True)
class Site:
    """Where a contestant stands."""

    port: int
    admin_port: int
    directory: str
    origin_ports: tuple[int, ...]
    nofile: int


# HAProxy has no file sink: its native way to one is stdout, one write a record.
_HAPROXY_LOG = (
    "    capture request header Host len 128\n    capture request header User-Agent len 256\n    capture request header Referer len 256\n"
    """    log-format '{"time":"%[date,ltime(%Y-%m-%dT%H:%M:%S%z)]","id":"%ID","client":"%ci","port":%cp,"method":"%HM","scheme":"http","""
    """"host":"%[capture.req.hdr(0),json(utf8s)]","path":"%HPO","query":"%HQ","protocol":"%HV","status":%ST,"bytes_in":%U,"bytes_out":%B,"""
    """"t_total":%Ta,"t_connect":%Tc,"t_first_byte":%Tr,"server":"%b/%s","attempts":"%rc","""
    """"user_agent":"%[capture.req.hdr(1),json(utf8s)]","referer":"%[capture.req.hdr(2),json(utf8s)]"}'"""
)


# Sizes in MiB and bytes. Without max-age an answer is kept for a minute, whatever it says; without max-object-size it may be 1/256 of
# the cache at most.
_HAPROXY_CACHE = "cache hits\n    total-max-size 64\n    max-object-size 4194304\n    max-age 3600\n    process-vary off"

_NGINX_CACHE = (
    "    proxy_cache_path {directory}/nginx-cache levels=1:2 keys_zone=hits:10m max_size=256m inactive=1h use_temp_path=off;\n"
    "    proxy_cache hits;\n    open_file_cache max=1000 inactive=1h;\n    open_file_cache_valid 1h;"
)

# Every record that a hit would write into the shared-memory log.
_VARNISH_HIT_LOG = (
    "Begin", "End", "Link", "Timestamp", "SessOpen", "SessClose", "ReqStart", "ReqMethod", "ReqURL", "ReqProtocol", "ReqHeader", "ReqUnset",
    "ReqAcct", "Hit", "VCL_call", "VCL_return", "VCL_use", "RespProtocol", "RespStatus", "RespReason", "RespHeader", "RespUnset", "Filters",
    "Length",
)  # fmt: skip


# splice-auto waits for a stream that it deems fast, and in 2.6 does not get there with 1 MiB answers: it copies (strace shows no splice).
_HAPROXY_SPLICE = {
    "": "    option splice-response",
    "64k": "    option splice-response",
    "auto": "    option splice-auto",
}


def route_names(count: int) -> list[str]:
    return [f"/svc-{i:04d}/" for i in range(1, count + 1)]


def fill(template: str, words: dict[str, str]) -> str:
    """Replaces every @WORD@. KeyError for one that is not known, so that a typo cannot pass as text."""
    return re.sub(r"@([A-Z_]+)@", lambda m: words[m.group(1)], template)


def nginx(template: str, site: Site, workload: Workload, variant: str) -> str:
    if workload.from_memory:
        locations = [f'location / {{ return 200 "{"a" * 64}"; }}']
    elif workload.routes:
        locations = [f"location {name} {{ proxy_pass http://app; }}" for name in route_names(workload.routes)]
        locations.append("location / { proxy_pass http://app; }")
    else:
        locations = ["location / { proxy_pass http://app; }"]
    return fill(
        template,
        {
            "WORDS": "@WORDS@",
            "DIR": site.directory,
            "PORT": str(site.port),
            "NOFILE": str(site.nofile),
            "CONNECTIONS": str(connection_limit(site, workload)),
            "ACCESS_LOG": f"{site.directory}/access.log bench buffer=64k flush=1s" if workload.access_log else "off",
            "SERVERS": "\n".join(f"        server 127.0.0.1:{p};" for p in site.origin_ports),
            "SENDFILE": "off;\n    output_buffers 2 512k" if variant == "read" else "on",
            "CACHE": _NGINX_CACHE.format(directory=site.directory) if workload.cached else "",
            "OPTIONS": "    proxy_buffering off;\n    proxy_request_buffering off;" if variant == "unbuffered" else "",
            "REQUEST_ID": '"$pid-$connection-$connection_requests"' if variant == "leanid" else "$request_id",
            "LISTEN": " deferred" if variant == "deferred" else "",
            "LOCATIONS": "\n".join("        " + line for line in locations),
        },
    )


def haproxy(template: str, site: Site, workload: Workload, variant: str) -> str:
    if workload.from_memory:
        routes = f'    http-request return status 200 content-type text/plain string "{"a" * 64}"'
    elif workload.routes:
        routes = f"    use_backend %[path,map_beg({site.directory}/routes.map,app)]"
    else:
        routes = ""
    return fill(
        template,
        {
            "WORDS": "@WORDS@",
            "PORT": str(site.port),
            "CONNECTIONS": str(connection_limit(site, workload)),
            "SPLICE": _HAPROXY_SPLICE.get(variant, "") if workload.big else "",
            "TUNE": f"    tune.bufsize {65536 if variant == '64k' else 16384}\n    tune.pipesize 1048576\n    maxpipes 256",
            "LOG_GLOBAL": "    log stdout format raw local0" if workload.access_log else "",
            "LOG_DEFAULTS": "    log global" if workload.access_log else "    no log",
            "LOG_FRONTEND": _HAPROXY_LOG if workload.access_log else "",
            "BIND": " defer-accept" if variant == "deferred" else "",
            "ROUTES": routes,
            "USE_CACHE": "    http-request cache-use hits\n    http-response cache-store hits" if workload.cached else "",
            "CACHE": _HAPROXY_CACHE if workload.cached else "",
            "SERVERS": "\n".join(f"    server s{i} 127.0.0.1:{p}" for i, p in enumerate(site.origin_ports)),
        },
    )


def haproxy_map(workload: Workload) -> str:
    return "".join(f"{name} app\n" for name in route_names(workload.routes))


def varnish(template: str, site: Site) -> str:
    return fill(template, {"WORDS": "@WORDS@", "ORIGIN_PORT": str(site.origin_ports[0])})


def varnish_options(site: Site, variant: str) -> list[str]:
    """For varnishd. It has a thread for every connection that is busy, so it cannot be kept to one; one pool of them is the least."""
    options = ["-F", "-a", f"127.0.0.1:{site.port}", "-n", f"{site.directory}/varnish", "-f", f"{site.directory}/varnish.vcl"]
    options += ["-s", "malloc,256m", "-p", "thread_pools=1"]
    return options + (["-p", "vsl_mask=" + ",".join(f"-{tag}" for tag in _VARNISH_HIT_LOG)] if variant == "nolog" else [])


def proxyd(template: str, site: Site, workload: Workload, threads: str) -> str:
    if workload.from_memory:
        routes = [f'- {{respond: {{status: 200, body: "{"a" * 64}", content_type: text/plain}}}}']
    else:
        routes = [f"- {{match: {name}*, to: app}}" for name in route_names(workload.routes)]
        routes.append("- {to: app, cache: 1h}" if workload.cached else "- to: app")
    return fill(
        template,
        {
            "WORDS": "@WORDS@",
            "PORT": str(site.port),
            "ADMIN_PORT": str(site.admin_port),
            "THREADS": threads,
            "ACCESS": f"{{to: {site.directory}/access.log, format: json}}" if workload.access_log else "none",
            "SERVERS": ", ".join(f"127.0.0.1:{p}" for p in site.origin_ports),
            "ROUTES": "\n".join("  " + line for line in routes),
        },
    )


def connection_limit(site: Site, workload: Workload) -> int:
    # nginx allocates its connections at start: asking for 12,000 where 4,096 do would only make its idle memory look bigger
    return min(12_000, site.nofile - 500) if workload.idle_connections else 4096
