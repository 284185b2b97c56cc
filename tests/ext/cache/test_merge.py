"""What is stored of a head, and what a 304 makes of it: RFC 9111 §3.1, §3.2, §4.3.4."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.cache.merge import freshened_lines, stored_lines
from proxyd_ext.http1.rewrite import http_date

NOW = 1_800_000_000
DATE = f"Date: {http_date(NOW).decode()}"
OLD = f"Date: {http_date(NOW - 1000).decode()}"


def answer(*lines: str, status: int = 200) -> bytes:
    return "".join([f"HTTP/1.1 {status} X\r\n", *(f"{line}\r\n" for line in lines), "\r\n"]).encode("latin-1")


def block(lines: list[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode("latin-1")


def stored(*lines: str, strip: bool = False) -> list[str]:
    kept = stored_lines(answer(*lines), NOW, strip_set_cookie=strip)
    assert isinstance(kept, bytes)
    return kept.decode("latin-1").split("\r\n")[:-1]


def freshened(old: list[str], *lines: str) -> list[str]:
    new = freshened_lines(block(old), answer(*lines, status=304), NOW)
    assert isinstance(new, bytes)
    return new.decode("latin-1").split("\r\n")[:-1]


@pytest.mark.parametrize(
    "line",
    [
        "Connection: close", "Keep-Alive: timeout=5", "Proxy-Connection: close", "TE: trailers", "Transfer-Encoding: chunked",
        "Upgrade: h2c", "Trailer: X-T", "Proxy-Authenticate: Basic", "Proxy-Authorization: x", "proxy-authentication-info: x", "Age: 5",
        "Content-Length: 5",
    ],
)
def test_s3_1_what_is_not_stored(line: str) -> None:
    assert stored("A: 1", line, OLD) == ["A: 1", OLD]


def test_s3_1_fields_that_connection_names_are_not_stored() -> None:
    assert stored("Connection: a, Date", "A: 1", "B: 2", "a: 3", OLD) == ["B: 2", DATE]


@pytest.mark.parametrize(
    "line",
    [
        "X-Test: a", "ETag: \"a\"", "Cache-Control: max-age=5", "Content-Type: text/plain", "Cache-Status: x; hit", "Proxy-Status: y",
        "Empty: ", "Warning: 110 - x", "Expires: 0", "Set-Cookie: a=b", "WWW-Authenticate: Basic",
        "Proxy-Authentication-Infos: x", "X: caf\xe9",
    ],
)
def test_what_is_stored_as_it_came(line: str) -> None:
    assert stored(line, OLD) == [line, OLD]


def test_lines_are_stored_in_one_form() -> None:
    assert stored("A:1", "b:   2  ", "C: 3\r\n  4", "A: 5", "Date:") == ["A: 1", "b: 2", "C: 3    4", "A: 5", "Date: "]


def test_a_date_is_added_and_set_cookie_left_out_on_demand() -> None:
    assert stored("A: 1", "Set-Cookie: a=b", "set-cookie: c=d", strip=True) == ["A: 1", DATE]
    assert stored() == [DATE]


# ---- a 304

@pytest.mark.parametrize(
    "name",
    ["Test-Header", "Cache-Control", "Expires", "ETag", "Last-Modified", "Vary", "Content-Location", "Content-Foo", "X-Frame-Options"],
)
def test_s3_2_fields_of_the_304_replace_stored_ones(name: str) -> None:
    assert freshened(["A: 1", f"{name}: old", "B: 2", f"{name.lower()}: older", OLD], f"{name.upper()}: new", DATE) == [
        "A: 1", "B: 2", f"{name.upper()}: new", DATE,
    ]


@pytest.mark.parametrize("name", ["Content-Encoding", "Content-Type", "Content-Range", "Content-Length", "Age", "Set-Cookie", "Trailer"])
def test_s3_2_what_a_304_does_not_change(name: str) -> None:
    assert freshened(["A: 1", f"{name}: old", OLD], f"{name}: 5", DATE) == ["A: 1", f"{name}: old", DATE]
    assert freshened(["A: 1", OLD], f"{name}: 5", DATE) == ["A: 1", DATE]


@pytest.mark.parametrize("line", ["Keep-Alive: x", "Transfer-Encoding: chunked", "Proxy-Authentication-Info: x", "Upgrade: x"])
def test_s3_2_what_would_not_be_stored_is_not_merged(line: str) -> None:
    assert freshened(["A: 1", OLD], line, DATE) == ["A: 1", DATE]


def test_s3_2_fields_that_its_connection_names_are_not_merged() -> None:
    old = ["A: 1", "ETag: \"a\"", OLD]
    assert freshened(old, "Connection: a, etag, date", "A: 2", 'ETag: "b"', OLD) == ["A: 1", 'ETag: "a"', DATE]


def test_s4_3_4_what_the_304_omits_stays_and_its_date_is_new() -> None:
    assert freshened(["A: 1", "B: 2", OLD]) == ["A: 1", "B: 2", DATE]
    assert freshened(["A: 1", OLD], "A: 2", "a: 3") == ["A: 2", "a: 3", DATE]
    assert freshened([]) == [DATE]


@pytest.mark.parametrize("text", [b"no line", b"\r\n", b":\r\n", b"A: 1"])
def test_lines_that_are_none_do_no_harm(text: bytes) -> None:
    assert freshened_lines(text, answer(DATE, status=304), NOW) == text + block([DATE])


def test_room() -> None:
    head, old, came = answer("A: 1", "Set-Cookie: a"), block(["A: 1", OLD]), answer("B: 2", status=304)
    whole, new = stored_lines(head, NOW), freshened_lines(old, came, NOW)
    assert isinstance(whole, bytes)
    assert isinstance(new, bytes)
    for cap in range(len(whole)):
        assert stored_lines(head, NOW, cap=cap) == -1
    for cap in range(len(new)):
        assert freshened_lines(old, came, NOW, cap=cap) == -1
    assert stored_lines(head, NOW, cap=len(whole)) == whole
    assert freshened_lines(old, came, NOW, cap=len(new)) == new


NAMES = st.sampled_from(["A", "a", "ETag", "Content-Type", "Date", "Proxy-Connection", "Set-Cookie", "X-Y", "age"])
LINES = st.lists(st.builds(lambda name, value: f"{name}: {value}", NAMES, st.sampled_from(["1", "x", ""])), max_size=6)


@given(LINES, LINES)
def test_said_plainly(first: list[str], then: list[str]) -> None:
    def name(line: str) -> str:
        return line.partition(":")[0].lower()

    dropped = {"age", "proxy-connection"}
    kept = [line for line in first if name(line) not in dropped]
    kept += [] if "date" in map(name, kept) else [DATE]
    assert stored(*first) == kept
    brought = [line for line in then if name(line) not in dropped | {"content-type", "set-cookie"}]
    brought += [] if "date" in map(name, brought) else [DATE]
    left = [line for line in kept if name(line) not in set(map(name, brought))]
    assert freshened(kept, *then) == left + brought
