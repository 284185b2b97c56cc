"""A request, or a flow, described by words: what `proxyd route` and POST /route/explain take."""
from __future__ import annotations

import ipaddress
import re
from typing import Literal
from urllib.parse import urlsplit

FLOW_URL = re.compile(r"(tcp|udp|tls)://(unix:/.*|(?:\[([^\]]*)\]|([^:/\[\]]*))(?::([0-9]{1,5}))?/?)", re.IGNORECASE)
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def request_parts(method: str, url: str, host: str = "") -> tuple[str, str, str]:
    """Method, host (without port) and path (without query) of a request, which is what a route table looks at.

    `url` is a path, `host/path` or a whole URL; `host`, a Host field, wins over the URL's. Raises ValueError.
    """
    if not TOKEN.fullmatch(method):
        raise ValueError(f"`{method}` is not a method")
    authority, path = _split(url)
    return method.upper(), without_port(host or authority).lower(), path.partition("#")[0].partition("?")[0]


def port_part(url: str, host: str = "") -> str:
    """The port that the request names, as digits; "" where it names none. Arguments and errors as of `request_parts`."""
    authority = host or _split(url)[0]
    return authority[len(without_port(authority)):].removeprefix(":")


def _split(url: str) -> tuple[str, str]:
    """Authority without user (may be empty), and path."""
    if url.startswith("/"):
        return "", url
    scheme, colon, _ = url.partition("://")
    if colon and scheme.lower() not in {"http", "https"}:
        raise ValueError(f"`{url}` is not an http URL")
    parts = urlsplit(url if colon else f"//{url}")
    return parts.netloc.rpartition("@")[2], parts.path or "/"


def flow_parts(url: str) -> tuple[Literal["tcp", "udp", "tls"], str, int, str] | None:
    """Kind, host ("": any), port (0: any) and path of a unix socket of `tcp://:5432`, `udp://127.0.0.1:53`, `tls://name:8443`,
    `tcp://unix:/run/a.sock`. None: it is no such URL. Raises ValueError.

    The host of "tls" is the server name; a hello to an address has none (RFC 6066 §3).
    """
    scheme = url.partition("://")[0].lower()
    kind: Literal["tcp", "udp", "tls"]
    if scheme == "tcp":
        kind = "tcp"
    elif scheme == "udp":
        kind = "udp"
    elif scheme == "tls":
        kind = "tls"
    else:
        return None
    found = FLOW_URL.fullmatch(url)
    if found is None or int(found[5] or 0) > 65_535:
        raise ValueError(f"`{url}` names no listener; write {scheme}://{'NAME' if kind == 'tls' else ''}:PORT")
    if found[2].startswith("unix:"):
        return kind, "", 0, found[2].removeprefix("unix:")
    host = "127.0.0.1" if found[4] == "localhost" and kind != "tls" else found[3] or found[4] or ""
    try:
        host = str(ipaddress.ip_address(host)) if kind != "tls" and host else host
    except ValueError:
        raise ValueError(f"`{host}` is not an address of this machine; write {scheme}://:{found[5] or 'PORT'}") from None
    return kind, "" if kind == "tls" and (found[3] or _is_address(host)) else host, int(found[5] or 0), ""


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def protocol_part(name: str) -> str:
    """The name of a protocol that a ClientHello offers (RFC 7301). Raises ValueError."""
    if not re.fullmatch(r"[\x21-\x7e]{1,255}", name):
        raise ValueError(f"`{name}` is not the name of a protocol, like `h2`")
    return name


def query_part(url: str) -> str:
    """The query of a URL, without its `?`."""
    return url.partition("#")[0].partition("?")[2]


def field_part(name: str, value: str) -> tuple[str, str]:
    """A field of a request. Raises ValueError."""
    if not TOKEN.fullmatch(name):
        raise ValueError(f"`{name}` is not the name of a field")
    if any(char in value for char in "\r\n\0"):
        raise ValueError(f"the value of {name} holds a line break")
    return name, value.strip(" \t")


def client_part(address: str) -> str:
    """A client's IP address in its usual spelling; "" stays "". Raises ValueError."""
    try:
        return str(ipaddress.ip_address(address)) if address else ""
    except ValueError:
        raise ValueError(f"`{address}` is not an IP address") from None


def without_port(host: str) -> str:
    """`[::1]:80` → `[::1]`, `example.com:80` → `example.com`."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isascii() and port.isdigit() and (":" not in name or name.endswith("]")) else host
