from __future__ import annotations

import pytest

from proxyd.health.script import Pattern, What, find_end, in_words


@pytest.mark.parametrize(
    ("what", "data", "end"),
    [
        (b"+PONG", b"+PONG\r\n", 5),
        (b"\0\1", b"\0\0\1\0\1", 3),
        (b"x", b"", -1),
        (Pattern("role:(master|slave)"), b"a\r\nrole:slave\r\nrole:master", 13),
        (Pattern("^role"), b"a role", -1),
        (Pattern("[0-9]+"), b"ab123", 3),
        (Pattern("a*"), b"bbb", 0),
        (Pattern("end$"), b"end and end", 11),
        (Pattern("\xe4"), "x\xe4y".encode(), 3),
    ],
)
def test_where_a_match_ends(what: What, data: bytes, end: int) -> None:
    assert find_end(what, data) == end
    for cut in range(len(data)):
        # However it is parted, what was looked through before need not be looked at again.
        assert max(find_end(what, data[:cut]), find_end(what, data, cut if find_end(what, data[:cut]) < 0 else 0)) == end or end < cut


def test_a_search_goes_on_where_the_last_one_ended() -> None:
    assert find_end(b"abc", b"abc abc", 3) == 7
    assert find_end(b"abc", b"abc abc", 2) == 3, "it may have begun before"


def test_words() -> None:
    assert in_words(b"+PONG\r\n") == '"+PONG\\r\\n"'
    assert in_words(Pattern("^a")) == "matching ^a"
