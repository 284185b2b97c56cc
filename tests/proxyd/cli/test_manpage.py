"""proxyd(1) holds what the program says of itself."""
from __future__ import annotations

import re

from proxyd.cli.entry import VERBS
from proxyd.cli.errors import Exit
from proxyd.cli.manpage import EXITS, page


def test_every_command_and_exit_code_is_there() -> None:
    text = page()
    for verb in VERBS:
        assert re.search(rf"^\.SS {verb}\b", text, re.MULTILINE), verb
    assert set(EXITS) == set(Exit)
    assert "\n.SS upstream drain [OPTIONS] UPSTREAM/SERVER\n" in text
    assert "\n.TP\n\\fB\\-\\-supervise\\fR\n" in text


def test_nothing_of_it_is_taken_for_a_request_of_roff() -> None:
    """Each line that begins with a dot is one of those that are written here."""
    known = {"TH", "SH", "SS", "TP", "PP", "nf", "fi", "B", "I", "BR", "RI"}
    requests = {line[1:].split(" ")[0] for line in page().splitlines() if line.startswith((".", "'"))}
    assert requests <= known
    assert not re.search(r"[^\x00-\x7f]", page())
