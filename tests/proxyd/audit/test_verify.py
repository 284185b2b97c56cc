"""What was done to an audit trail, and where."""
from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.audit.record import NOTHING_BEFORE, Note, digest, line_of, link
from proxyd.audit.verify import verify


def trail(count: int) -> list[bytes]:
    lines, prev = [], NOTHING_BEFORE
    for seq in range(1, count + 1):
        note = Note("ops", "unix pid 1", "server.change", f"app/10.0.0.{seq}:80", detail={"text": "é\ud800"})
        record = link(note, seq=seq, at=seq, prev=prev)
        lines.append(line_of(record))
        prev = record["hash"]
    return lines


LINES = trail(9)


def altered(line: bytes, *, right_hash: bool = False, **members: Any) -> bytes:
    record = json.loads(line) | members
    return line_of(record | {"hash": digest(record)} if right_hash else record)


def test_what_was_written_is_whole() -> None:
    found = verify(LINES, head=json.loads(LINES[-1])["hash"])
    assert (found.records, found.fault, found.head) == (9, "", json.loads(LINES[-1])["hash"])
    assert verify([]).head == NOTHING_BEFORE


Mutation = Callable[[list[bytes]], list[bytes]]


@pytest.mark.parametrize(("mutate", "fault", "line", "good", "text"), [
    (lambda lines: [*lines[:3], altered(lines[3], who="eve"), *lines[4:]], "changed", 4, 3, "record 4 does not fit its own hash"),
    (lambda lines: [*lines[:3], altered(lines[3], right_hash=True, who="eve"), *lines[4:]], "changed", 5, 4, "one of them was changed"),
    (lambda lines: [*lines[:3], lines[3].replace(b'"seq":4', b'"seq": 4'), *lines[4:]], "changed", 4, 3,
     "record 4 is not as proxyd writes one"),
    (lambda lines: [*lines[:3], b"hello\n", *lines[4:]], "changed", 4, 3, "record 4 is not as proxyd writes one"),
    (lambda lines: [*lines[:3], *lines[4:]], "removed", 4, 3, "record 4 was removed: record 5 follows record 3"),
    (lambda lines: lines[2:], "removed", 1, 0, "records 1 to 2 were removed: the trail begins with record 3"),
    (lambda lines: [*lines[:3], lines[1], *lines[3:]], "inserted", 4, 3, "record 2 stands behind record 3 again: it was put in"),
    (lambda lines: [*lines[:3], altered(lines[3], right_hash=True, who="eve"), *lines[3:]], "inserted", 4, 3,
     "record 4 was put in: the one behind follows record 3"),
    (lambda lines: [*lines[:8], lines[8][:-20]], "truncated", 9, 8, "record 9 ends in the middle"),
    (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "removed", 2, 1, "record 2 was removed"),
])
def test_what_was_done_to_it(mutate: Mutation, fault: str, line: int, good: int, text: str) -> None:
    found = verify(mutate(list(LINES)))
    assert (found.fault, found.line, found.records) == (fault, line, good)
    assert text in found.text


def test_a_shortened_trail_shows_against_its_head() -> None:
    head = json.loads(LINES[-1])["hash"]
    assert verify(LINES[:7]).fault == ""
    found = verify(LINES[:7], head=head)
    assert (found.fault, found.line, found.records) == ("truncated", 7, 7)
    assert verify([*LINES, *trail(12)[9:]], head=head).fault == "", "what was added since is right"
    assert verify([], head=head).fault == "truncated"


@settings(max_examples=60)
@given(st.integers(0, len(b"".join(LINES)) - 1), st.integers(1, 255))
def test_no_changed_byte_goes_unseen(place: int, flip: int) -> None:
    data = bytearray(b"".join(LINES))
    data[place] ^= flip
    found = verify(bytes(data).splitlines(keepends=True), head=json.loads(LINES[-1])["hash"])
    assert found.fault
    assert found.records <= b"".join(LINES)[:place].count(b"\n") + 1
