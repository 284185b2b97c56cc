"""Stands in for an answer of the native store, and for the store that takes compressed forms of it."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from proxyd.compress.eligible import Encoding

TEXT = b"".join(b"line %d of a page, and %d\n" % (number, number * 7919 % 10007) for number in range(400))    # about 12 KB


@dataclass(slots=True)
class StoredAnswer:
    """As `CachedObject`: what the server sent is plain text unless said otherwise."""

    url: str = "http://shop.example.com/page"
    body: bytes = TEXT
    head: bytes = b"Content-Type: text/html; charset=utf-8\r\nCache-Control: max-age=60\r\n"
    route: str = "pages"
    state: Literal["complete", "filling", "marker"] = "complete"
    status: int = 200
    encoding: str = ""
    vary: str = ""
    variant: bytes = b""
    fresh_s: float = 60.0
    stale_while_revalidate_s: float = 0.0
    compress: bool = True
    size: int = -1

    def __post_init__(self) -> None:
        if self.size < 0:
            self.size = len(self.body)

    @property
    def key(self) -> bytes:
        return b"app\0" + self.url.encode()


@dataclass(slots=True)
class FormStore:
    """Keeps what `put_encoded` brings, in order; `takes` decides whether it is kept."""

    forms: list[tuple[str, Encoding, bytes]] = field(default_factory=list)
    takes: Callable[[StoredAnswer, Encoding], bool] = lambda _source, _encoding: True

    def put_encoded(self, source: StoredAnswer, encoding: Encoding, body: bytes) -> bool:
        if not self.takes(source, encoding):
            return False
        self.forms.append((source.url, encoding, body))
        return True
