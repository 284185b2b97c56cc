"""Whether an audit trail is as it was written, and where it first is not."""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from proxyd.audit.file import maybe_record
from proxyd.audit.record import NOTHING_BEFORE, digest, line_of

Fault = Literal["", "changed", "removed", "inserted", "truncated"]


@dataclass(frozen=True, slots=True)
class Verdict:
    records: int                 # that are right, from the first on
    head: str                    # the hash of the last of them; 64 zeros: there is none
    fault: Fault = ""            # "": all are right
    line: int = 0                # the first that is not
    text: str = ""               # what is wrong, as a sentence


def verify(lines: Iterable[bytes], *, head: str = "") -> Verdict:
    """Walk the chain. `lines` end in their newlines; `head`: a hash that it must contain, as it was told by the daemon or noted before."""
    prev, seen, number = NOTHING_BEFORE, {NOTHING_BEFORE: 0}, 0
    for number, line in enumerate(lines, 1):
        good = number - 1
        if not line.endswith(b"\n"):
            return Verdict(good, prev, "truncated", number, f"line {number} ends in the middle: the file was cut off there")
        record = maybe_record(line)
        if record is None or line_of(record) != line:
            return Verdict(good, prev, "changed", number, f"line {number} is not a record as proxyd writes it: it was changed")
        if digest(record) != record["hash"]:
            return Verdict(good, prev, "changed", number, f"line {number} does not fit its own hash: it was changed")
        if record["prev"] != prev or record["seq"] != number:
            return _out_of_place(record, number, prev, seen)
        prev = record["hash"]
        seen[prev] = number
    if head and head not in seen:
        text = f"record {head[:12]} is not in it: it ends with record {number}, and what came behind was removed, or it was written anew"
        return Verdict(number, prev, "truncated", number, text)
    return Verdict(number, prev)


def _out_of_place(record: Mapping[str, Any], number: int, prev: str, seen: Mapping[str, int]) -> Verdict:
    """A record that is whole, but does not follow the line before."""
    good = number - 1
    if record["hash"] in seen:
        text = f"line {number} is line {seen[record['hash']]} again: it was put in"
        return Verdict(good, prev, "inserted", number, text)
    if record["prev"] in seen and record["seq"] <= good:
        first = seen[record["prev"]] + 1
        what = f"line {first} was" if first == good else f"lines {first} to {good} were"
        return Verdict(first - 1, record["prev"], "inserted", first, f"{what} put in: line {number} follows line {first - 1}")
    if record["seq"] > number:
        gone = f"record {number}" if record["seq"] == number + 1 else f"records {number} to {record['seq'] - 1}"
        return Verdict(good, prev, "removed", number, f"{gone} removed: line {number} holds record {record['seq']}")
    return Verdict(good, prev, "changed", number, f"line {number} does not follow line {good}: one of them was changed")
