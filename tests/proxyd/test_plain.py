"""Text of others, made harmless."""
from __future__ import annotations

import json

import pytest

from proxyd.audit.record import Note, digest, link
from proxyd.cli.verbs.audit import record_lines
from proxyd.plain import plain


@pytest.mark.parametrize(("text", "shown"), [
    ("app/10.0.0.1:80", "app/10.0.0.1:80"), ("caf\u00e9 \u6771", "caf\u00e9 \u6771"), ("a\nb\r", "a\\x0ab\\x0d"), ("\x1b[2J", "\\x1b[2J"),
    ("\x9b2J", "\\xc2\\x9b2J"), ("\u202e", "\\xe2\\x80\\xae"), ("\ud800", "\\xed\\xa0\\x80"),
])
def test_what_is_not_plainly_shown(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_names_in_an_order_neither_begin_lines_nor_steer_the_terminal() -> None:
    """The target is what stands in the path of a request, also of one that was refused."""
    hostile = "app\n22:00 info all is well \x1b[8m"
    note = Note("\x1b]0;x\x07", "127.0.0.1", "server.change", hostile, "refused", "PXD-270", {"state": "\x1b[1m\ud800"})
    record = link(note, seq=1, at=0.0, prev="0" * 64)
    for text in (note.words(), *record_lines([record])):
        assert text.isprintable()
    assert "all is well \\x1b[8m" in note.words()
    assert digest(json.loads(json.dumps(record))) == record["hash"], "the trail itself has it as it was"
