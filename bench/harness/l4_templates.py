"""Fills the @WORDS@ of the L4 files of bench/peers/ for one contestant under one workload. Pure: text in, text out."""

from __future__ import annotations

from harness.model import Workload
from harness.templates import Site, connection_limit, fill

# A copy buffer in each direction.
_NGINX_BUFFERS = {"": "16k", "64k": "64k", "256k": "256k", "half": "16k"}

# 2.6's splice-auto waits for a stream that it deems fast. smart: ACKs that data would carry anyway are not sent on their own.
_HAPROXY_OPTIONS = {
    "": "",
    "auto": "    option splice-auto",
    "splice": "    option splice-request\n    option splice-response",
    "smart": "    option tcp-smart-accept\n    option tcp-smart-connect",
}


def nginx(template: str, site: Site, workload: Workload, variant: str, module: str) -> str:
    """`module`: path of the stream module, empty where it is built in."""
    assert workload.l4
    return fill(
        template,
        {
            "WORDS": "@WORDS@",
            "LOAD": f"load_module {module};" if module else "",
            "DIR": site.directory,
            "PORT": str(site.port),
            "NOFILE": str(site.nofile),
            "CONNECTIONS": str(2 * connection_limit(site, workload)),  # it counts both sides of a flow
            "LISTEN": " udp reuseport" if workload.l4.protocol == "udp" else " backlog=4096",
            "BUFFER": _NGINX_BUFFERS[variant],
            # half: an end is passed on and the other waited for, as HAProxy and proxyd always do
            "OPTIONS": "        proxy_half_close on;" if variant == "half" else "",
            "SERVERS": "\n".join(f"        server 127.0.0.1:{p};" for p in site.origin_ports),
        },
    )


def haproxy(template: str, site: Site, workload: Workload, variant: str) -> str:
    return fill(
        template,
        {
            "WORDS": "@WORDS@",
            "PORT": str(site.port),
            "CONNECTIONS": str(connection_limit(site, workload)),
            "OPTIONS": _HAPROXY_OPTIONS[variant],
            "SERVERS": "\n".join(f"    server s{i} 127.0.0.1:{p}" for i, p in enumerate(site.origin_ports)),
        },
    )


def proxyd(template: str, site: Site, workload: Workload, threads: str) -> str:
    assert workload.l4
    return fill(
        template,
        {
            "WORDS": "@WORDS@",
            "PORT": str(site.port),
            "ADMIN_PORT": str(site.admin_port),
            "THREADS": threads,
            "MODE": workload.l4.protocol,
            "SERVERS": ", ".join(f"127.0.0.1:{p}" for p in site.origin_ports),
        },
    )


def floor_options(site: Site, workload: Workload, variant: str) -> list[str]:
    """For floor, or udpfloor: without a mode."""
    assert workload.l4
    options = ["-l", str(site.port)]
    for port in site.origin_ports:
        options += ["-o", str(port)]
    if workload.l4.protocol == "udp":
        return options
    mode = "relay" if variant in ("", "copy256k") else variant
    return [mode, *options, *(["-b", str(256 * 1024)] if variant == "copy256k" else [])]
