from __future__ import annotations

from dataclasses import replace

import pytest

from proxyd.compress.eligible import Encoding, Refusal, eligible, refusal_of_head, type_matches
from proxyd_ext.snapshot.spec import CompressSpec
from tests.support.stored import StoredAnswer

SPEC = CompressSpec(("zstd", "br", "gzip"), 1024, ("text/*", "application/json"))
MIB = 1 << 20
HTML = b"Content-Type: text/html\r\n"


def judged(stored: StoredAnswer, spec: CompressSpec = SPEC) -> tuple[Encoding, ...] | Refusal:
    return eligible(stored, spec, MIB)


def test_text_gets_every_form_of_its_route_the_most_useful_first() -> None:
    assert judged(StoredAnswer()) == ("gzip", "br", "zstd")
    assert judged(StoredAnswer(), replace(SPEC, encodings=("zstd", "gzip"))) == ("gzip", "zstd")


@pytest.mark.parametrize(
    ("stored", "why"),
    [
        (StoredAnswer(status=404), "status"),
        (StoredAnswer(status=206), "status"),
        (StoredAnswer(state="marker"), "status"),
        (StoredAnswer(state="filling"), "status"),
        (StoredAnswer(encoding="br"), "encoded"),
        (StoredAnswer(size=1023), "too_small"),
        (StoredAnswer(size=MIB + 1), "too_large"),
        (StoredAnswer(fresh_s=1.9), "short_lived"),
        (StoredAnswer(fresh_s=-10.0, stale_while_revalidate_s=-1.0), "short_lived"),
    ],
)
def test_what_gets_no_form(stored: StoredAnswer, why: Refusal) -> None:
    assert judged(stored) == why


@pytest.mark.parametrize(
    "stored",
    [
        StoredAnswer(size=1024),
        StoredAnswer(size=MIB),
        StoredAnswer(fresh_s=2.0),
        StoredAnswer(fresh_s=-10.0, stale_while_revalidate_s=30.0),
    ],
)
def test_the_bounds_themselves_are_inside(stored: StoredAnswer) -> None:
    assert judged(stored) == ("gzip", "br", "zstd")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"Content-Encoding: gzip", "encoded"),
        (b"content-encoding: identity, BR", "encoded"),
        (b"Content-Encoding: identity", None),
        (b"Content-Encoding:", None),
        (b"Cache-Control: max-age=60, No-Transform", "no_transform"),
        (b"Cache-Control: max-age=60\r\ncache-control: no-transform", "no_transform"),
        (b'Cache-Control: private="no-transform, x", max-age=60', None),
        (b"Cache-Control: x-no-transform", None),
        (b"Content-Range: bytes 0-99/200", "range"),
        (b"Repr-Digest: sha-256=:AAAA:", "digest"),
        (b"Content-Digest: sha-256=:AAAA:", "digest"),
        (b"Digest: sha-256=AAAA", "digest"),
        (b"Content-MD5: AAAA", "digest"),
        (b"Content-Type: application/json", "type"),    # a second one
        (b"X-Content-Encoding: gzip", None),
        (b'ETag: "no-transform"', None),
    ],
)
def test_what_a_field_forbids(line: bytes, why: Refusal | None) -> None:
    assert refusal_of_head(HTML + line + b"\r\n", SPEC.types) == why
    assert refusal_of_head(line + b"\r\n" + HTML, SPEC.types) == why


@pytest.mark.parametrize(
    ("value", "good"),
    [
        (b"text/css", True),
        (b"TEXT/HTML;charset=utf-8", True),
        (b"application/json ; x=1", True),
        (b"application/jsonx", False),
        (b"image/png", False),
        (b"text", False),
        (b"", False),
        (b"textual/html", False),
    ],
)
def test_the_media_type_decides(value: bytes, good: bool) -> None:
    assert refusal_of_head(b"Content-Type: " + value + b"\r\n", SPEC.types) == (None if good else "type")


def test_an_answer_without_a_type_is_left_alone() -> None:
    assert refusal_of_head(b"Cache-Control: max-age=60\r\n", ("*/*",)) == "type"
    assert type_matches("image/svg+xml", ("*/*",))
    assert type_matches("image/svg+xml", ("Image/SVG+xml",))


def test_of_an_answer_that_varies_by_what_is_accepted_only_those_forms_are_made() -> None:
    stored = StoredAnswer(vary="accept-encoding,origin", variant=b"gzip, br\nhttps://a.example")
    assert judged(stored) == ("gzip", "br")
    assert judged(replace(stored, variant=b"")) == "vary"
    assert judged(replace(stored, variant=b"*")) == ("gzip", "br", "zstd")
    assert judged(replace(stored, vary="origin", variant=b"https://a.example")) == ("gzip", "br", "zstd")
