"""Fills the @WORDS@ of bench/peers/* for one contestant under one workload. Pure: text in, text out."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.jwt import AUDIENCE, ISSUER, SECRET
from harness.model import REFUSED_BYTES, Workload


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


# So many requests that none is refused; the burst, for nginx counts whole milliseconds.
_NGINX_LIMITS = {
    "refused": (
        "    limit_req_zone $binary_remote_addr zone=clients:10m rate=1r/m;\n    limit_req zone=clients;\n    limit_req_status 429;\n"
        "    limit_req_log_level info;\n    server_tokens off;\n    add_header X-Padding {padding} always;"
    ),
    "limited": (
        "    limit_req_zone $binary_remote_addr zone=clients:10m rate=1000000r/s;\n"
        "    limit_req zone=clients burst=1000000 nodelay;\n    limit_req_status 429;\n    limit_req_log_level info;"
    ),
}
_NGINX_REFUSAL_BYTES = 331  # with an empty X-Padding

_HAPROXY_LIMIT = (
    "    stick-table type ip size 100k expire 1h store http_req_rate({period})\n    http-request track-sc0 src\n{errorfile}"
    "    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {most} }}"
)
_HAPROXY_REFUSAL = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: {size}\r\ncache-control: no-cache\r\ncontent-type: text/html\r\n\r\n"

_PROXYD_POLICIES = {
    "refused": "{rate_limit: {rate: 1/d}}",
    "limited": "{rate_limit: {rate: 1000000/s, burst: 1000000}}",
    # every key is in debt for as long as the bench lasts, so none of the million may be forgotten
    "keys-100": "{rate_limit: {rate: 1/m, burst: 1000000, key: 'header:x-few'}}",
    "keys-1m": "{rate_limit: {rate: 1/m, burst: 1000000, key: 'header:x-many'}}",
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
            "LIMIT": _nginx_limit(workload, variant),
            "REQUEST_ID": '"$pid-$connection-$connection_requests"' if variant == "leanid" else "$request_id",
            "LISTEN": " deferred" if variant == "deferred" else "",
            "LOCATIONS": "\n".join("        " + line for line in locations),
        },
    )


def _nginx_limit(workload: Workload, variant: str) -> str:
    text = _NGINX_LIMITS.get(workload.policy, "") if variant != "open" else ""
    return text.format(padding="p" * (REFUSED_BYTES - _NGINX_REFUSAL_BYTES))


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
            "LIMIT": _haproxy_limit(site, workload, variant),
            "ROUTES": routes,
            "USE_CACHE": "    http-request cache-use hits\n    http-response cache-store hits" if workload.cached else "",
            "CACHE": _HAPROXY_CACHE if workload.cached else "",
            "SERVERS": "\n".join(f"    server s{i} 127.0.0.1:{p}" for i, p in enumerate(site.origin_ports)),
        },
    )


def _haproxy_limit(site: Site, workload: Workload, variant: str) -> str:
    if workload.policy == "refused":
        return _HAPROXY_LIMIT.format(period="1h", errorfile=f"    errorfile 429 {site.directory}/429.http\n", most=1)
    if workload.policy == "limited" and variant != "open":
        return _HAPROXY_LIMIT.format(period="10s", errorfile="", most=1_000_000_000)
    return ""


def haproxy_refusal() -> str:
    """For `errorfile`: as HAProxy's own, padded."""
    room = REFUSED_BYTES - len(_HAPROXY_REFUSAL.format(size=100))
    return _HAPROXY_REFUSAL.format(size=room) + "<html><body><h1>429 Too Many Requests</h1></body></html>\n".rjust(room, "p")


def haproxy_map(workload: Workload) -> str:
    return "".join(f"{name} app\n" for name in route_names(workload.routes))


def varnish(template: str, site: Site) -> str:
    return fill(template, {"WORDS": "@WORDS@", "ORIGIN_PORT": str(site.origin_ports[0])})


def varnish_options(site: Site, variant: str) -> list[str]:
    """For varnishd. It has a thread for every connection that is busy, so it cannot be kept to one; one pool of them is the least."""
    options = ["-F", "-a", f"127.0.0.1:{site.port}", "-n", f"{site.directory}/varnish", "-f", f"{site.directory}/varnish.vcl"]
    options += ["-s", "malloc,256m", "-p", "thread_pools=1"]
    return options + (["-p", "vsl_mask=" + ",".join(f"-{tag}" for tag in _VARNISH_HIT_LOG)] if variant == "nolog" else [])


def proxyd(template: str, site: Site, workload: Workload, threads: str, variant: str = "") -> str:
    policy = _proxyd_policy(site, workload, variant)
    if workload.from_memory:
        routes = [f'- {{respond: {{status: 200, body: "{"a" * 64}", content_type: text/plain}}}}']
    else:
        routes = [f"- {{match: {name}*, to: app}}" for name in route_names(workload.routes)]
        more = (", cache: 1h" if workload.cached else "") + (", use: [limit]" if policy else "")
        routes.append(f"- {{to: app{more}}}")
    return fill(
        template,
        {
            "WORDS": "@WORDS@",
            "PORT": str(site.port),
            "ADMIN_PORT": str(site.admin_port),
            "THREADS": threads,
            "ACCESS": f"{{to: {site.directory}/access.log, format: json}}" if workload.access_log else "none",
            "SERVERS": ", ".join(f"127.0.0.1:{p}" for p in site.origin_ports),
            "POLICIES": f"policies:\n  limit: {policy}\n" if policy else "",
            "ROUTES": "\n".join("  " + line for line in routes),
        },
    )


def _proxyd_policy(site: Site, workload: Workload, variant: str) -> str:
    if variant == "open" or not workload.policy:
        return ""
    if workload.policy == "jwt":
        return f"{{auth: {{jwt: {{issuer: '{ISSUER}', audience: {AUDIENCE}, keys: {{secret: '${{file:{site.directory}/jwt.secret}}'}}}}}}}}"
    return _PROXYD_POLICIES[f"{workload.policy}-{variant}" if variant else workload.policy]


def jwt_secret() -> str:
    return SECRET


def connection_limit(site: Site, workload: Workload) -> int:
    # nginx allocates its connections at start: asking for 12,000 where 4,096 do would only make its idle memory look bigger
    if workload.l4 and workload.idle_connections:
        return min(12_000, (site.nofile - 200) // 2)  # a flow has two descriptors
    return min(12_000, site.nofile - 500) if workload.idle_connections else 4096
