"""URLs that proxyd itself fetches something from that it then trusts."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from proxyd.diagnostics.fail import fail, shown

_URL = re.compile(r"https?://[\x21-\x7e]+\Z", re.IGNORECASE)


def is_url(url: str) -> bool:
    """An absolute one with a host, without a user, a password and a fragment."""
    try:
        parts = urlsplit(url) if _URL.match(url) else None
        return parts is not None and bool(parts.hostname) and parts.username is None and not parts.fragment and parts.port != 0
    except ValueError:
        return False


def is_safe_url(url: str, *, insecure: bool = False) -> bool:
    """Whether nobody on the way can put something else in: https, or http that stays on this machine; `insecure`: any http."""
    if not is_url(url):
        return False
    parts = urlsplit(url)
    return insecure or parts.scheme.lower() == "https" or is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_url(url: str) -> str:
    if not is_url(url):
        raise fail("PXD-038", f"{shown(url)} is not a URL to fetch from", "like `https://id.example.com/keys`; no user, no fragment")
    return url
