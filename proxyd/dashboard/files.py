"""The files of the dashboard, read once. They come with the package, so what a browser may ask for is what stands in this folder."""
from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

INDEX = "index.html"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class File:
    body: bytes
    content_type: str
    etag: str              # RFC 9110 §8.8.3, with its quotes


@cache
def all_files() -> Mapping[str, File]:
    """By path below `static/`: "index.html", "pages/overview.js"."""
    return dict(_found(files(__package__) / "static", ""))


def _found(folder: Traversable, prefix: str) -> list[tuple[str, File]]:
    found = []
    for entry in folder.iterdir():
        name = prefix + entry.name
        if entry.is_dir():
            found += _found(entry, f"{name}/")
        elif (content_type := TYPES.get(f".{entry.name.rpartition('.')[2]}")) is not None:
            body = entry.read_bytes()
            found.append((name, File(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:16]}"')))
    return found
