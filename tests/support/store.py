"""A cache that keeps what it is given, with the face of `proxyd_ext.cache.store`, for tests of what stands around the real one."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from proxyd_ext.cache.store import Cache, CachedObject

MIB = 1 << 20
EMPTY = Cache(4 * MIB).stats()


@dataclass
class FakeObject:
    """A `CachedObject`."""

    url: str
    key: bytes = b""
    status: int = 200
    head: bytes = b""
    body: bytes = b"body"
    footprint: int = 512
    encoding: str = ""
    vary: str = ""
    variant: bytes = b""
    age_s: float = 50.0
    fresh_s: float = 250.0
    stale_while_revalidate_s: float = 0.0
    stale_if_error_s: float = 0.0
    hits: int = 1
    tags: list[str] = field(default_factory=list)
    reason: str = ""
    state: Literal["complete", "filling", "marker"] = "complete"
    soft_purged: bool = False
    etag: str = ""
    route: str = "media"
    compress: bool = False
    share: bool = False

    def __post_init__(self) -> None:
        self.key = self.key or b"app\0" + self.url.encode()

    @property
    def size(self) -> int:
        return len(self.body)

    def blob(self) -> bytes:
        return b"blob " + self.url.encode() + b" " + self.body


class FakeStore:
    """A `Cache`. What `load` was given is in `loaded`; a blob with the word "old" is too old for it."""

    def __init__(self, objects: Iterable[FakeObject] = (), /, **stats: int) -> None:
        self.objects = list(objects)
        self.purges: list[tuple[str, str, bool]] = []
        self.loaded: list[bytes] = []
        self.points: list[tuple[int, int, int]] = []
        self.set = stats

    def stats(self) -> dict[str, int]:
        return dict.fromkeys(EMPTY, 0) | {"objects": len(self.objects), "limit_bytes": 256 * MIB} | self.set

    def curve(self) -> list[tuple[int, int, int]]:
        return self.points

    def purge(self, kind: str, text: str = "", *, soft: bool = False) -> int:
        self.purges.append((kind, text, soft))
        return 3

    def find(self, url: str) -> list[FakeObject]:
        return [entry for entry in self.objects if entry.url == url]

    def export(self, cursor: int, most: int) -> tuple[int, Sequence[FakeObject]]:
        end = cursor + most
        return (end if end < len(self.objects) else 0), self.objects[cursor:end]

    def load(self, blob: bytes, *, restored: bool = False) -> bool:
        if not blob.startswith(b"blob "):
            raise ValueError("no blob")
        self.loaded.append(blob)
        return b"old" not in blob


def as_cache(store: Any) -> Cache:
    return cast("Cache", store)


def as_object(stored: FakeObject) -> CachedObject:
    return cast("CachedObject", stored)
