from __future__ import annotations

import pytest

from proxyd.config.model import Compress
from tests.support.config import config_of, first_finding

ROUTE = "listen: ':1'\nroutes: [{to: ['a:1'], cache: on, use: p}]\npolicies: {p: {compress: "


def compress(text: str) -> Compress:
    found = config_of(f"{ROUTE}{text}}}}}").policies["p"].compress
    assert found is not None
    return found


def test_short_forms() -> None:
    assert compress("on") == compress("{}") == Compress()
    assert compress("br") == compress("[br]") == compress("{encodings: br}")
    assert compress("[gzip, br]").encodings == ("gzip", "br")
    assert compress("{types: Text/HTML}").types == ("text/html",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("deflate", ("PXD-034", 1)),
        ("{encodings: [br, lzma]}", ("PXD-034", 18)),
        ("{encodings: [br, br]}", ("PXD-025", 18)),
        ("{encodings: []}", ("PXD-022", 2)),
        ("{min_size: 10}", ("PXD-031", 12)),
        ("{types: [text]}", ("PXD-038", 10)),
        ("{types: ['*/*']}", ("PXD-038", 10)),
        ("{types: ['text/html; charset=utf-8']}", ("PXD-038", 10)),
        ("{types: [text/html, text/html]}", ("PXD-025", 21)),
        ("{level: 9}", ("PXD-021", 2)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    assert first_finding(f"{ROUTE}\n{text}}}}}\n") == (expected[0], 4, expected[1])


def test_it_is_a_kind_of_its_own() -> None:
    text = "listen: ':1'\nroutes: [{to: ['a:1'], cache: on, use: p}]\npolicies: {p: {headers: {}, compress: on}}\n"
    assert first_finding(text) == ("PXD-080", 3, 29)
