"""First match over routes, said plainly: what the native table must agree with."""
from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

PathKind = Literal["any", "exact", "prefix"]
Row = tuple[bytes, PathKind, bytes, Collection[str]]


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
