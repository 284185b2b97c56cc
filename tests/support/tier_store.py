"""Stand-ins for the native store and its objects, for what only needs to see what is asked of them."""
from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from proxyd.cachetier.tier import PurgeKind


@dataclass
class FakeObject:
    """A stored answer; its blob is its own fields."""

    key: bytes = b"app\0k"
    url: str = "http://a/x"
    text: str = "body"
    size: int = 4
    encoding: str = ""
    vary: str = ""
    variant: bytes = b""
    fresh_s: float = 60.0
    stale_while_revalidate_s: float = 0.0
    stale_if_error_s: float = 0.0
    tags: list[str] = field(default_factory=list)
    state: str = "complete"
    soft_purged: bool = False
    share: bool = True

    def blob(self) -> bytes:
        if self.state != "complete":
            raise ValueError("nothing to keep")
        facts = asdict(self)
        return json.dumps({**facts, "key": self.key.decode("latin-1"), "variant": self.variant.decode("latin-1")}).encode()


class FakeStore:
    """Holds objects by key and variant. A purge of a tag, a URL, a prefix or everything removes what it names."""

    def __init__(self) -> None:
        self.objects: dict[tuple[bytes, bytes], FakeObject] = {}
        self.purges: list[tuple[str, str, bool]] = []
        self.too_old = False           # `load` finds everything too old

    def hold(self, stored: FakeObject) -> FakeObject:
        self.objects[stored.key, stored.variant] = stored
        return stored

    def texts(self) -> list[str]:
        return sorted(each.text for each in self.objects.values())

    def purge(self, kind: PurgeKind, text: str = "", *, soft: bool = False) -> int:
        text.encode()                  # as the native one: ValueError for what is no text
        self.purges.append((kind, text, soft))
        gone = [name for name, each in self.objects.items() if (
            kind == "all" or (kind == "tag" and text in each.tags) or (kind == "url" and text == each.url)
            or (kind == "prefix" and each.url.startswith(text)))]
        for name in gone:
            if soft:
                self.objects[name].soft_purged = True
            else:
                del self.objects[name]
        return len(gone)

    def load(self, blob: bytes) -> bool:
        facts = json.loads(blob)
        if not isinstance(facts, dict):
            raise ValueError("not a blob")
        if self.too_old:
            return False
        stored = FakeObject(**{**facts, "key": facts["key"].encode("latin-1"), "variant": facts["variant"].encode("latin-1")})
        self.hold(stored)
        return True

    def find(self, url: str) -> Sequence[FakeObject]:
        return [each for each in self.objects.values() if each.url == url]


@dataclass
class FakeEngine:
    """Remembers which exchanges may go on."""

    went_on: list[tuple[int, int]] = field(default_factory=list)

    def proceed(self, slot: int, generation: int) -> None:
        self.went_on.append((slot, generation))
