from collections.abc import Sequence
from typing import Literal

class CachedObject:
    key: bytes
    url: str
    status: int
    head: bytes
    body: bytes
    size: int
    footprint: int
    encoding: str
    vary: str
    variant: bytes
    age_s: float
    fresh_s: float
    stale_while_revalidate_s: float
    stale_if_error_s: float
    hits: int
    tags: list[str]
    reason: str
    state: Literal["complete", "filling", "marker"]
    soft_purged: bool
    etag: str
    route: str
    compress: bool
    share: bool
    def blob(self) -> bytes: ...

class Cache:
    def __init__(self, size: int, *, shards: int = 0) -> None: ...
    def resize(self, size: int) -> None: ...
    def stats(self) -> dict[str, int]: ...
    def curve(self) -> list[tuple[int, int, int]]: ...
    def purge(self, kind: Literal["url", "prefix", "host", "tag", "all"], text: str = "", *, soft: bool = False) -> int: ...
    def find(self, url: str) -> list[CachedObject]: ...
    def export(self, cursor: int, most: int) -> tuple[int, list[CachedObject]]: ...
    def load(self, blob: bytes, *, restored: bool = False) -> bool: ...
    def put_encoded(self, source: CachedObject, encoding: Literal["gzip", "br", "zstd"], body: bytes) -> bool: ...
    def get(self, key: str) -> bytes | None: ...
    def put(self, key: str, value: bytes, ttl_ms: int, tags: Sequence[str] = ()) -> bool: ...
    def delete(self, key: str) -> bool: ...

def blob_names(blob: bytes) -> tuple[str, list[str]]:
    """URL and tags of what CachedObject.blob wrote, which is not checked. ValueError: it is no blob."""

def reason_words() -> list[str]:
    """Every word that `CachedObject.reason` of a marker may be."""
