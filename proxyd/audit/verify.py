"""Whether an audit trail is as it was written, and where it first is not.

A trail may begin behind its first record when what came before has expired. A record of it says so (`rotation.py`); without one, the
beginning was removed.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from proxyd.audit.file import maybe_record
from proxyd.audit.record import NOTHING_BEFORE, digest, line_of
from proxyd.audit.rotation import EXPIRED

Fault = Literal["", "changed", "removed", "inserted", "truncated"]
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    records: int                 # that are right, from the first on
    head: str                    # the hash of the last of them; 64 zeros: there is none
    fault: Fault = ""            # "": all are right
    line: int = 0                # the first that is not
    text: str = ""               # what is wrong, as a sentence
    expired: int = 0             # records before the first, which are not kept any more


def verify(lines: Iterable[bytes], *, head: str = "") -> Verdict:
    """Walk the chain. `lines` end in their newlines; `head`: a hash that it must contain, as it was told by the daemon or noted before."""
    rest, begin = iter(lines), _Beginning()
    found = _walk(rest, begin, head)
    if not begin.is_right(rest):
        gone = "record 1 was" if begin.before == 1 else f"records 1 to {begin.before} were"
        text = f"{gone} removed: the trail begins with record {begin.before + 1}, and no record tells that those before it had expired"
        return Verdict(0, NOTHING_BEFORE, "removed", 1, text)
    return found


@dataclass(slots=True)
class _Beginning:
    """What the first record hangs on."""

    before: int = 0              # the number of that record
    hash: str = NOTHING_BEFORE
    vouched: bool = False        # a record tells that what came before has expired

    def hear(self, record: Record) -> None:
        """A record whose hash is right."""
        if record["action"] == EXPIRED and record["detail"] == {"seq": self.before, "hash": self.hash}:
            self.vouched = True

    def is_right(self, rest: Iterable[bytes]) -> bool:
        """`rest`: the lines that were not walked over, because one before them is not right."""
        for line in rest:
            record, _ = _whole(line)
            if record is not None:
                self.hear(record)
        return self.vouched or not self.before


def _walk(lines: Iterable[bytes], begin: _Beginning, head: str) -> Verdict:
    prev, seen, number = NOTHING_BEFORE, {NOTHING_BEFORE: 0}, 0
    for number, line in enumerate(lines, 1):
        good, due = number - 1, begin.before + number
        if not line.endswith(b"\n"):
            return Verdict(good, prev, "truncated", number, f"record {due} ends in the middle: the file was cut off there")
        record, wrong = _whole(line)
        if record is None:
            return Verdict(good, prev, "changed", number, f"record {due} {wrong}: it was changed")
        if number == 1 and record["seq"] > 1:
            begin.before, begin.hash = record["seq"] - 1, record["prev"]
            prev, due, seen = begin.hash, record["seq"], {begin.hash: begin.before}
        begin.hear(record)
        if record["prev"] != prev or record["seq"] != due:
            return _out_of_place(record, begin.before, due, prev, seen)
        prev = record["hash"]
        seen[prev] = due
    if head and head not in seen:
        text = f"record {head[:12]} is not in it: it ends with record {begin.before + number}, and what came behind was removed, or it was "
        text += "written anew, or that record has expired" if begin.before else "written anew"
        return Verdict(number, prev, "truncated", number, text)
    return Verdict(number, prev, expired=begin.before)


def _whole(line: bytes) -> tuple[Record | None, str]:
    """The record of a line, or what is wrong with it."""
    record = maybe_record(line)
    if record is None or line_of(record) != line:
        return None, "is not as proxyd writes one"
    return (record, "") if digest(record) == record["hash"] else (None, "does not fit its own hash")


def _out_of_place(record: Record, before: int, due: int, prev: str, seen: Mapping[str, int]) -> Verdict:
    """A record that is whole, but does not follow the one before."""
    seq, number = record["seq"], due - before
    if record["hash"] in seen:
        text = f"record {seen[record['hash']]} stands behind record {due - 1} again: it was put in"
        return Verdict(number - 1, prev, "inserted", number, text)
    if record["prev"] in seen and seq < due:
        first = seen[record["prev"]] + 1
        what = f"record {first} was" if first == due - 1 else f"records {first} to {due - 1} were"
        text = f"{what} put in: the one behind follows record {first - 1}"
        return Verdict(first - 1 - before, record["prev"], "inserted", first - before, text)
    if seq > due:
        gone = f"record {due} was" if seq == due + 1 else f"records {due} to {seq - 1} were"
        return Verdict(number - 1, prev, "removed", number, f"{gone} removed: record {seq} follows record {due - 1}")
    return Verdict(number - 1, prev, "changed", number, f"record {seq} does not follow record {due - 1}: one of them was changed")
