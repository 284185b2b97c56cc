"""Hosts as the config writes them: in lower case, ASCII, without port; `*.example.com` for every name below."""

from __future__ import annotations

import re

from proxyd.diagnostics.fail import fail, shown

_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"(\*\.)?{_LABEL}(\.{_LABEL})*\Z")
_IPV6_HOST = re.compile(r"\[[0-9a-f:.]+\]\Z")


def check_host(text: str) -> str:
    """The host in lower case: `example.com`, or `*.example.com` for every name below it; empty for any."""
    host = text.strip().lower().rstrip(".")
    if host in ("", "*"):
        return ""
    if not host.isascii():
        try:
            help = f"write its ASCII form: `{host.encode('idna').decode()}`"
        except UnicodeError:
            help = "write its ASCII form (`xn--…`)"
        raise fail("PXD-037", f"the host {shown(text)} is not ASCII", help)
    if re.search(r":[0-9]+\Z", host) and not _IPV6_HOST.match(host):
        raise fail("PXD-037", f"the host {shown(text)} carries a port, which is never compared", f"write `{host.rpartition(':')[0]}`")
    if len(host) > 253 or not (_HOST.match(host) or _IPV6_HOST.match(host)):
        help = "`*` stands for whole labels at the front: `*.example.com`" if "*" in host else "like `example.com` or `*.example.com`"
        raise fail("PXD-037", f"{shown(text)} is not a host to match", help)
    return host


def check_origin_host(text: str) -> str:
    """What a server is told as Host: a name or an address, with a port where it needs one."""
    stripped = text.strip()
    port = re.search(r":[0-9]{1,5}\Z", stripped)
    host = check_host(stripped[: port.start()] if port else stripped)
    if not host or host.startswith("*."):
        raise fail("PXD-038", f"{shown(text)} is not a Host to send", "like `app.internal` or `app.internal:8080`")
    return host + (port[0] if port else "")
