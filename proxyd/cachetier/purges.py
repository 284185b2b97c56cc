"""Which purge was the last one that matches something: looked up for everything that comes from the tier, so by hashing, not by walking.

Matching errs on the side of purging: an answer that is not used costs a fetch. So a purge of a URL matches every URL with the same path,
since the key of a route may leave out the query, the host or the scheme.
"""
from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from proxyd.cachetier.tier import PurgeKind

MOST = 20_000                  # texts; half of them is forgotten beyond, the oldest ones


class PurgeIndex:
    __slots__ = ("_everything", "_lengths", "_most", "_texts", "floor")

    def __init__(self, most: int = MOST) -> None:
        self._texts: dict[tuple[PurgeKind, str], int] = {}
        self._lengths: dict[int, int] = {}         # of prefixes: how many have it
        self._everything = 0
        self._most = most
        self.floor = 0             # what was stored at a serial below it may have been purged: nobody remembers

    def __len__(self) -> int:
        return len(self._texts) + bool(self._everything)

    def add(self, serial: int, kind: PurgeKind, text: str) -> None:
        if kind == "all":
            self._everything = max(self._everything, serial)
            return
        entry = (kind, path_of(text) if kind == "url" else text)
        if kind == "prefix" and entry not in self._texts:
            self._lengths[len(text)] = self._lengths.get(len(text), 0) + 1
        self._texts[entry] = max(self._texts.get(entry, 0), serial)
        if len(self._texts) > self._most:
            self._forget()

    def latest(self, url: str, tags: Sequence[str]) -> int:
        """The serial of the last purge that matches; 0: none does. At least `floor`."""
        texts = self._texts
        found = max(self.floor, self._everything)
        if url:
            entries: list[tuple[PurgeKind, str]] = [("url", path_of(url)), ("host", urlsplit(url).netloc)]
            entries += [("prefix", url[:length]) for length in self._lengths if length <= len(url)]
            for entry in entries:
                found = max(found, texts.get(entry, 0))
        for tag in tags:
            found = max(found, texts.get(("tag", tag), 0))
        return found

    def _forget(self) -> None:
        by_age = sorted(self._texts.items(), key=lambda item: item[1])
        gone = by_age[:len(by_age) // 2]
        self.floor = max(self.floor, gone[-1][1])
        self._texts = dict(by_age[len(gone):])
        self._lengths = {}
        for kind, text in self._texts:
            if kind == "prefix":
                self._lengths[len(text)] = self._lengths.get(len(text), 0) + 1


def path_of(url: str) -> str:
    """`http://host/a?b` → `a`; what has no host is its own path."""
    _, scheme, rest = url.partition("://")
    return rest.partition("?")[0].partition("/")[2] if scheme else url
