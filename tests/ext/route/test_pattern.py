"""What is no pattern, and what is said about it; what every match of a pattern begins with."""
from __future__ import annotations

import re

import pytest

from proxyd_ext.route.regex import Regex, RegexError


@pytest.mark.parametrize(
    ("pattern", "position", "what"),
    [
        ("a(b", 1, "no ')'"),
        ("ab)", 2, "no '('"),
        ("a[b", 1, "no ']'"),
        ("*a", 0, "nothing to repeat"),
        ("a|+", 2, "nothing to repeat"),
        ("a**", 2, "repeat of a repeat"),
        ("a{2}{3}", 4, "repeat of a repeat"),
        ("a++", 2, "possessive"),
        ("^*", 0, "anchor"),
        ("a{2,1}", 1, "larger than its second"),
        ("a{1001}", 1, "1000 times at most"),
        ("a{9999999999999999999}", 1, "1000 times at most"),
        ("a{x}", 1, r"\{"),
        ("a{", 1, r"\{"),
        (r"(a)\1", 3, "back-references"),
        (r"a(?P=n)", 1, "back-references"),
        ("a(?=b)", 1, "look-around"),
        ("a(?<!b)", 1, "look-around"),
        ("(?P<name>a)", 0, "named groups"),
        ("(?<name>a)", 0, "named groups"),
        ("a(?i)b", 1, "beginning"),
        ("(?x)a", 0, "unknown kind of group"),
        (r"\bword", 0, "word boundaries"),
        (r"a\q", 1, "unknown escape"),
        (r"\x4", 0, "hexadecimal"),
        ("a\\", 1, "backslash"),
        ("[z-a]", 1, "after its last"),
        (r"[a-\d]", 1, "range"),
        ("[[:alpha:]]", 1, "named classes"),
        ("[é]", 1, "ASCII"),
        ("\ud800", 0, "Unicode"),
        ("(" * 60 + ")" * 60, 50, "within one another"),
        ("a" * 5000, 4096, "more than 4096"),
        ("(a{100}){100}", 0, "too large"),
        ("((((){1000}){1000}){1000}){1000}", 0, "too large"),
        (".*x.{300}", 0, "too large"),
    ],
)
def test_refused(pattern: str, position: int, what: str) -> None:
    with pytest.raises(RegexError, match=re.escape(what)) as caught:
        Regex(pattern)
    assert caught.value.position == position


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        ("^/api/v[0-9]", b"/api/v"),
        ("^/api/$", b"/api/"),
        ("^(?:/a)b", b"/ab"),
        ("^/a+", b"/"),
        ("^/é", b"/\xc3\xa9"),
        (r"^/a\.b", b"/a.b"),
        ("(?i)^/a", b"/"),
        ("^[/]x|y", None),
        ("^[/]x", b"/x"),
        ("^", b""),
        ("/api", None),
        ("^/a|^/b", None),
        ("(?:^/a)?b", None),
        ("", None),
    ],
)
def test_literal_prefix(pattern: str, prefix: bytes | None) -> None:
    assert Regex(pattern).prefix == prefix
