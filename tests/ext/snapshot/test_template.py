"""Cutting templates into parts."""
from __future__ import annotations

import pytest

from proxyd_ext.http1.template import PART_KINDS
from proxyd_ext.snapshot.template import Part, location_parts, page_parts, path_parts


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("/", [("text", b"/")]),
        ("{path}", [("path", b"")]),
        ("/a{path}/{rest}{host}", [("text", b"/a"), ("path", b""), ("text", b"/"), ("rest", b""), ("host", b"")]),
        ("{query:a b}{query:id}", [("parameter", b"a b"), ("parameter", b"id")]),
        ("/\u00e9%7E%2f", [("text", b"/%C3%A9~%2F")]),
    ],
)
def test_path(text: str, parts: list[Part]) -> None:
    assert path_parts(text) == parts


def test_location() -> None:
    text = "{scheme}://{host}{path}{query}{rest}{Path}"
    assert location_parts(text) == [
        ("scheme", b""), ("text", b"://"), ("host", b""), ("path", b""), ("query", b""), ("text", b"{rest}{Path}"),
    ]


def test_page() -> None:
    body = b"{status}{reason} {message}{request_id}{host}{path}{{status}}\xff{"
    assert page_parts(body) == [
        ("status", b""), ("reason", b""), ("text", b" "), ("message", b""), ("request_id", b""), ("host", b""), ("text", b"{path}{"),
        ("status", b""), ("text", b"}\xff{"),
    ]
    assert b"".join(text or b"{%s}" % kind.encode() for kind, text in page_parts(body)) == body


def test_every_word_is_known() -> None:
    parts = path_parts("{path}{rest}{host}{query:a}x") + location_parts("{scheme}{query}")
    parts += page_parts(b"{status}{reason}{message}{request_id}")
    assert {kind for kind, _ in parts} == set(PART_KINDS)
