"""First match over routes, said plainly: what the native table must agree with."""
from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from proxyd_ext.snapshot.spec import Condition, RouteSpec
from tests.reference.regex import python_pattern

PathKind = Literal["any", "exact", "prefix"]
Row = tuple[bytes, PathKind, bytes, Collection[str]]
WORDS = ("method", "host", "path", "header", "query", "cookie", "source")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request. `host` without port; `path` in normal form; `client` "" where it is not known."""

    method: str
    host: str
    path: str
    headers: Sequence[tuple[str, str]] = ()
    query: str = ""
    client: str = ""


def misses(row: Row, host: bytes, path: bytes, method: str) -> tuple[str, ...]:
    """What of the route does not match, in the order method, host, path."""
    pattern, kind, route_path, methods = row
    pattern, host = pattern.lower().removesuffix(b"."), host.lower().removesuffix(b".")
    method_fits = not methods or method in methods or (method == "HEAD" and "GET" in methods)
    below = pattern.startswith(b"*.") and host.endswith(pattern[1:]) and len(host) > len(pattern[1:])
    host_fits = below or (pattern in (b"", host) and not pattern.startswith(b"*."))
    path_fits = kind == "any" or (path == route_path if kind == "exact" else path.startswith(route_path))
    fits = {"method": method_fits, "host": host_fits, "path": path_fits}
    return tuple(word for word, fit in fits.items() if not fit)


def first_match(rows: Sequence[Row], host: bytes, path: bytes, method: str) -> int:
    return next((number for number, row in enumerate(rows) if not misses(row, host, path, method)), -1)


def spec_misses(spec: RouteSpec, asked: Asked) -> list[str]:
    """The same for a route with conditions, in the order of WORDS."""
    kind: PathKind = "any" if not spec.path else "exact" if spec.path_exact else "prefix"
    row = (spec.host.encode(), kind, spec.path.encode(), spec.methods)
    missed = set(misses(row, asked.host.encode(), asked.path.encode(), asked.method))
    missed |= {condition.of for condition in spec.conditions if not holds(condition, asked)}
    return [word for word in WORDS if word in missed]


def first_spec(specs: Sequence[RouteSpec], asked: Asked) -> int:
    return next((number for number, spec in enumerate(specs) if not spec_misses(spec, asked)), -1)


def holds(condition: Condition, asked: Asked) -> bool:
    if condition.of == "source":
        networks = [ipaddress.ip_network(text, strict=False) for text in condition.networks]
        fits = bool(asked.client) and any(ipaddress.ip_address(asked.client) in network for network in networks)
    else:
        fits = any(_fits(condition, value) for value in _values(condition, asked))
    return fits != condition.negate


def _values(condition: Condition, asked: Asked) -> Iterable[str]:
    """What the request brings of that name."""
    if condition.of == "path":
        return [asked.path]
    if condition.of == "host":
        return [asked.host.removesuffix(".")]
    if condition.of == "header":
        headers = asked.headers
        if asked.host and not any(name.lower() == "host" for name, _ in headers):
            headers = [("Host", asked.host), *headers]
        return [value.strip(" \t") for name, value in headers if name.lower() == condition.name.lower()]
    if condition.of == "query":
        pairs = [part.partition("=") for part in asked.query.split("&")] if asked.query else []
        return [value for name, _, value in pairs if name == condition.name]
    texts = [value.strip(" \t") for name, value in asked.headers if name.lower() == "cookie"]
    cookies = [part.lstrip(" ").partition("=") for text in texts for part in text.split(";")]
    return [value for name, sign, value in cookies if sign and name == condition.name][:1]    # the first one counts


def _fits(condition: Condition, value: str) -> bool:
    wanted = condition.value
    if condition.test == "regex":
        folded = re.IGNORECASE if condition.of == "host" else re.NOFLAG
        return re.search(python_pattern(wanted), value.encode(), folded) is not None
    if condition.of == "host":
        wanted, value = wanted.lower(), value.lower()
    if condition.test == "exact":
        return value == wanted
    if condition.test == "prefix":
        return value.startswith(wanted)
    return condition.test == "present" or value.endswith(wanted)
