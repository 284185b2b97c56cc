"""One line of the audit trail, and how it hangs on the line before.

    {"seq": 7, "time": "2026-11-21T22:48:40.125Z", "who": "ops", "origin": "unix pid 4242", "action": "server.change",
     "target": "app/10.0.0.1:80", "result": "ok", "code": "", "detail": {"state": "drain"}, "prev": "9f2c…", "hash": "51ab…"}

`hash` is the SHA-256 of the line without it, its members sorted, no spaces, as UTF-8; `prev` is the `hash` of the line before (64 zeros:
there is none). So a line that is changed, removed or put in between breaks the chain there. Who can write the file can also shorten it, or
write it anew from some point on: against that helps the last hash, which `proxyd status` shows, kept elsewhere.
"""
from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from proxyd.plain import plain

Result = Literal["ok", "refused"]

SENTENCES = frozenset({"error", "plan", "terms", "text", "why"})       # of a detail: what can be read without the name of its place
NOTHING_BEFORE = "0" * 64
TARGET_MAX = 10_000        # characters
DETAIL_MAX = 100_000       # bytes


@dataclass(frozen=True, slots=True)
class Note:
    """What is to be recorded: `who` changed what (`action` on `target`) from where, and what came of it."""

    who: str
    origin: str                  # "unix pid 4242", "127.0.0.1", "signal", "guard"
    action: str
    target: str = ""
    result: Result = "ok"
    code: str = ""               # of a refusal: "PXD-222"
    detail: Mapping[str, Any] = field(default_factory=dict)

    def words(self) -> str:
        """For the daemon's log, on one line: `server.change app/10.0.0.1:80 by ops (unix pid 4242): ok, state drain`."""
        result = f"refused ({self.code})" if self.code else self.result
        told = ", ".join((result, *in_words(self.detail)))
        return plain(f"{self.action}{' ' + self.target if self.target else ''} by {self.who} ({self.origin}): {told}")


def in_words(detail: Mapping[str, Any]) -> Iterator[str]:
    """A record's detail for people: sentences without the name of their place, and nothing of what goes without saying."""
    for name, value in detail.items():
        if name in SENTENCES:
            yield str(value)
        elif name == "changed":
            yield from () if value else ("nothing changed",)
        elif value is not False:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield name.replace("_", " ") if value is True else f"{name} {text}"


def by_signal(name: str, action: str, refused: str = "", **detail: object) -> Note:
    """What a signal ordered; `refused`: why nothing came of it."""
    return Note("signal", name, action, "", "refused" if refused else "ok", detail=detail | ({"why": refused} if refused else {}))


def link(note: Note, *, seq: int, at: float, prev: str) -> dict[str, Any]:
    """The record of a note, chained to the one before."""
    time = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    record: dict[str, Any] = {
        "seq": seq, "time": time, "who": note.who, "origin": note.origin, "action": note.action, "target": note.target[:TARGET_MAX],
        "result": note.result, "code": note.code, "detail": _short(note.detail), "prev": prev,
    }
    return record | {"hash": digest(record)}


def _short(detail: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a change, or how long that would be: the end of the chain must be found in the last part of a file."""
    size = len(_text(detail))
    return dict(detail) if size <= DETAIL_MAX else {"left_out_bytes": size}


def line_of(record: Mapping[str, Any]) -> bytes:
    return _text(record) + b"\n"


def digest(record: Mapping[str, Any]) -> str:
    """The hash that belongs to a record, whether it has one or not."""
    bare = {name: record[name] for name in sorted(record) if name != "hash"}
    return hashlib.sha256(_text(bare)).hexdigest()


def _text(value: Mapping[str, Any]) -> bytes:
    """Lone surrogates become the escapes that JSON reads back."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace")
