"""The three forms, each read back by a reader of its own."""
from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd_ext.core.fault import faults
from proxyd_ext.log.render import render_record
from tests.support.access_log import FORMATS, Format
from tests.support.records import read_record

Record = Mapping[str, int | bytes | None]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CACHE_WORDS = ("hit", "miss", "stale", "expired", "revalidated", "bypass", "coalesced", "uncacheable")
REFUSED = faults()["connect_refused"]
TEXTS = (
    "request_id", "client_ip", "listener", "route", "upstream", "server", "method", "host",
    "path", "query", "user_agent", "referer", "trace_id", "user", "policies",
)

PIECES = [
    b"a", b"plain text of some length", b'"', b"\\", b"\n", b"\r\t", b"\x00", b"\x1b[2J", b"\x7f", "€ü😀".encode(), b"\xc2\x9b",
    b"\xc2\xa0", b"\xe2\x80\xae", b"\xe2\x81\xa6", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xf0\x9f\x98",
    b"\xc0\x80", b"\xff",
]
awkward = st.one_of(st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join), st.binary(max_size=12))
texts = st.one_of(st.none(), awkward)
times = st.one_of(st.none(), st.integers(0, 2**32 - 2))
records = st.fixed_dictionaries(
    {},
    optional={
        "time_us": st.integers(0, 253_402_300_799_999_999), "id": st.integers(0, 2**64 - 1), "bytes_in": st.integers(0, 2**64 - 1),
        "bytes_out": st.integers(0, 2**64 - 1), "body_out": st.integers(0, 2**64 - 1), "config": st.integers(0, 2**48 - 1),
        "t_total_us": st.integers(0, 2**64 - 1), "t_queue_us": times, "t_connect_us": times, "t_first_byte_us": times,
        "status": st.integers(100, 599), "engine": st.integers(0, 65535),
        "client_port": st.integers(0, 65535), "fault": st.sampled_from([0, *(int(str(about["code"])) for about in faults().values())]),
        "attempts": st.integers(0, 255), "status_by": st.integers(0, 2), "minor": st.integers(0, 1), "tls": st.integers(0, 1),
        "cache": st.integers(0, 8), "cache_age": times,
        **dict.fromkeys(TEXTS, texts),
    },
)


def is_steering(character: str) -> bool:
    """Whether a terminal could take the character for more than ink."""
    code = ord(character)
    return code < 0x20 or 0x7F <= code < 0xA0 or code in {0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)}


def one_line(line: bytes) -> str:
    """The line without its end; it has exactly one, and no control character."""
    text = line.decode("utf-8")
    assert text.endswith("\n")
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in text[:-1])
    return text[:-1]


# ---------------------------------------------------------------- json

def readable(text: object) -> str:
    assert isinstance(text, bytes)
    return text.decode("utf-8", "replace")


def expected_json(record: Record) -> Iterator[tuple[str, object]]:
    """The members of interface.md §6 that apply, in order."""
    def number(name: str, default: int = 0) -> int:
        value = record.get(name, default)
        assert isinstance(value, int)
        return value

    yield "time", (EPOCH + timedelta(microseconds=number("time_us"))).isoformat(timespec="microseconds").replace("+00:00", "Z")
    yield "id", readable(record["request_id"]) if record.get("request_id") else f"{number('id'):016x}"
    for name in ("trace_id", "listener", "route"):
        if record.get(name):
            yield name, readable(record[name])
    if record.get("client_ip"):
        yield "client.address", readable(record["client_ip"])
    if number("client_port"):
        yield "client.port", number("client_port")
    if record.get("method"):
        yield "method", readable(record["method"])
    yield "scheme", "https" if number("tls") else "http"
    for name in ("host", "path"):
        if record.get(name):
            yield name, readable(record[name])
    if record.get("query") is not None:
        yield "query", readable(record["query"])
    yield "protocol", f"HTTP/1.{number('minor', 1)}"
    yield "status", number("status", 200)
    yield "status_by", ("upstream", "proxyd", "cache")[number("status_by")]
    yield "bytes_in", number("bytes_in")
    yield "bytes_out", number("bytes_out")
    for name, default in (("t_total", 0), ("t_queue", None), ("t_connect", None), ("t_first_byte", None)):
        us = record.get(f"{name}_us", default)
        if us is not None:
            assert isinstance(us, int)
            yield name, f"{us // 1_000_000}.{us % 1_000_000:06}"
    for name in ("upstream", "server"):
        if record.get(name):
            yield name, readable(record[name])
    if number("attempts"):
        yield "attempts", number("attempts")
    if number("cache"):
        yield "cache", CACHE_WORDS[number("cache") - 1]
        if record.get("cache_age") is not None:
            yield "cache_age", number("cache_age")
    for name in ("policies", "user"):
        if record.get(name):
            yield name, readable(record[name])
    if number("fault"):
        about = next(about for about in faults().values() if about["code"] == number("fault"))
        yield "error", about["proxy_error"]
        yield "why", about["sentence"]
    for name in ("user_agent", "referer"):
        if record.get(name):
            yield name, readable(record[name])
    yield "engine", number("engine")
    yield "config", f"{number('config'):012x}"


@settings(max_examples=300)
@given(records)
def test_json_says_what_the_record_says(record: Record) -> None:
    text = one_line(render_record("json", record))
    assert json.loads(text, object_pairs_hook=list, parse_float=str) == list(expected_json(record))
    read_record(text)


@pytest.mark.parametrize("field", ["path", "query", "user_agent"])
@settings(max_examples=150)
@given(text=st.binary(max_size=64))
def test_json_replaces_ill_formed_bytes_as_python_does(field: str, text: bytes) -> None:
    members = json.loads(one_line(render_record("json", {field: text or b"x"})))
    assert members[field] == (text or b"x").decode("utf-8", "replace")


def test_json_takes_every_byte_at_every_offset_of_a_word() -> None:
    for byte in range(256):
        for offset in range(9):
            text = b"a" * offset + bytes([byte]) + b"b" * 9
            assert json.loads(render_record("json", {"path": text}))["path"] == text.decode("utf-8", "replace")


# ---------------------------------------------------------------- combined

COMBINED = re.compile(
    r'(?P<client>\S+) (?P<ident>\S+) (?P<user>\S+) \[(?P<time>[^\]]+)\] "(?P<request>(?:[^"\\]|\\.)*)" (?P<status>\d{3}) (?P<size>\d+|-)'
    r' "(?P<referer>(?:[^"\\]|\\.)*)" "(?P<agent>(?:[^"\\]|\\.)*)"'
)
ESCAPE = re.compile(r'\\(x[0-9a-f]{2}|["\\bnrtv])')


def unescaped(text: str) -> bytes:
    """What Apache's escapes stand for."""
    assert "\\" not in ESCAPE.sub("", text)
    short = {"b": b"\b", "n": b"\n", "r": b"\r", "t": b"\t", "v": b"\v", '"': b'"', "\\": b"\\"}
    pieces = ESCAPE.split(text)
    plain, codes = pieces[::2], pieces[1::2]
    out = plain[0].encode("ascii")
    for code, after in zip(codes, plain[1:], strict=True):
        out += bytes.fromhex(code[1:]) if code[0] == "x" else short[code]
        out += after.encode("ascii")
    return out


@settings(max_examples=300)
@given(records)
def test_combined_reads_back(record: Record) -> None:
    plain = {**record, "client_ip": b"192.0.2.7"}
    read = COMBINED.fullmatch(one_line(render_record("combined", plain)))
    assert read is not None
    assert read["client"] == "192.0.2.7"
    us = plain.get("time_us", 0)
    assert isinstance(us, int)
    assert read["time"] == (EPOCH + timedelta(microseconds=us)).strftime("%d/%b/%Y:%H:%M:%S +0000")
    query, method, path, minor = plain.get("query"), plain.get("method"), plain.get("path"), plain.get("minor", 1)
    assert isinstance(query, bytes | None)
    assert isinstance(method, bytes | None)
    assert isinstance(path, bytes | None)
    assert isinstance(minor, int)
    request = (method or b"") + b" " + (path or b"-") + (b"" if query is None else b"?" + query) + b" HTTP/1.%d" % minor
    assert unescaped(read["request"]) == (request if method else b"-")
    assert int(read["status"]) == plain.get("status", 200)
    assert (0 if read["size"] == "-" else int(read["size"])) == plain.get("body_out", 0)
    assert unescaped(read["user"]) == (plain.get("user") or b"-")
    assert unescaped(read["referer"]) == (plain.get("referer") or b"-")
    assert unescaped(read["agent"]) == (plain.get("user_agent") or b"-")


def test_combined_to_the_letter() -> None:
    record: Record = {
        "time_us": 971_211_336_000_000, "client_ip": b"127.0.0.1", "method": b"GET", "path": b"/apache_pb.gif", "minor": 0, "status": 200,
        "bytes_out": 2600, "body_out": 2326, "referer": b"http://www.example.com/start.html", "user_agent": b'Mozilla/4.08 "x"\n',
    }
    assert render_record("combined", record) == (
        b'127.0.0.1 - - [10/Oct/2000:20:55:36 +0000] "GET /apache_pb.gif HTTP/1.0" 200 2326'
        b' "http://www.example.com/start.html" "Mozilla/4.08 \\"x\\"\\n"\n'
    )
    assert render_record("combined", {**record, "user": b" ann b "}).startswith(b"127.0.0.1 - \\x20ann\\x20b\\x20 [10/Oct/")


# ---------------------------------------------------------------- pretty

FAILED: Record = {
    "time_us": 1_700_000_000_000_000, "id": 0x7F3A91, "method": b"GET", "status": 502, "status_by": 1, "t_total_us": 1_000_000,
    "host": b"shop.example.com", "path": b"/api/v1/pay", "upstream": b"api", "server": b"10.0.1.13:8000", "attempts": 2,
    "fault": int(str(REFUSED["code"])),
}


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "EST+5")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("new_york")
def test_pretty_to_the_letter() -> None:
    assert render_record("pretty", FAILED).decode() == (
        "17:13:20 GET  502  1.0s  shop.example.com/api/v1/pay   api→10.0.1.13:8000  connection refused, 2 tries   id 00000000007f3a91\n"
    )
    assert render_record("pretty", {"status": 400, "fault": 1, "status_by": 1, "request_id": b"r-1"}).decode() == (
        "19:00:00 -    400   0us     the request is not well-formed HTTP/1.1   id r-1\n"
    )
    assert render_record("pretty", {"method": b"DELETE", "status": 204, "host": b"h", "query": b"", "status_by": 2}).decode() == (
        "19:00:00 DELETE 204   0us  h?   from cache   id 0000000000000000\n"
    )


@pytest.mark.usefixtures("new_york")
def test_pretty_tells_what_the_cache_did() -> None:
    def after_the_path(**fields: int | bytes | None) -> str:
        line = render_record("pretty", {"method": b"GET", "host": b"h", "path": b"/", **fields}).decode()
        return line.removeprefix("19:00:00 GET  200   0us  h/   ").removesuffix("   id 0000000000000000\n")

    assert after_the_path(cache=1, cache_age=12, status_by=2) == "cache hit, 12s old"
    assert after_the_path(cache=2, upstream=b"api", server=b"s:1") == "api→s:1  cache miss"
    assert after_the_path(cache=3, cache_age=0, status_by=2, fault=int(str(REFUSED["code"])), attempts=2) == (
        "cache stale, 0s old  connection refused, 2 tries")


@pytest.mark.parametrize(
    ("us", "shown"),
    [
        (0, "  0us"), (999, "999us"), (1_000, "1.0ms"), (1_049, "1.0ms"), (1_050, "1.1ms"), (9_949, "9.9ms"),
        (9_950, " 10ms"), (999_499, "999ms"), (999_500, " 1.0s"), (12_340_000, "12.3s"), (99_949_999, "99.9s"),
        (99_950_000, " 100s"), (2**32 - 2, "4295s"), (9_999_499_999, "9999s"), (9_999_500_000, " 2.8h"), (359_819_999_999, "99.9h"),
        (360_000_000_000, " 100h"),
    ],
)
def test_pretty_duration_takes_five_columns(us: int, shown: str) -> None:
    line = render_record("pretty", {"method": b"GET", "t_total_us": us, "host": b"h"}).decode()
    assert line[13:].startswith(f" 200 {shown}  h")


@settings(max_examples=300)
@given(records)
def test_pretty_never_steers_the_terminal(record: Record) -> None:
    text = one_line(render_record("pretty", record))
    assert not any(is_steering(character) for character in text)
    coloured = render_record("pretty", record, color=True).decode()
    assert re.sub(r"\x1b\[(?:0|2|3[1236])m", "", coloured) == text + "\n"


@pytest.mark.parametrize(("status", "sequence"), [(200, "32"), (101, "32"), (304, "36"), (404, "33"), (502, "31")])
def test_pretty_colours_by_class(status: int, sequence: str) -> None:
    assert f"\x1b[{sequence}m{status}\x1b[0m" in render_record("pretty", {"status": status}, color=True).decode()


# ---------------------------------------------------------------- all

@pytest.mark.parametrize("form", FORMATS)
def test_a_line_that_does_not_fit_is_not_written(form: Format) -> None:
    record: Record = {**FAILED, "query": b'\xff"\n', "user_agent": b"curl"}
    line = render_record(form, record)
    assert render_record(form, record, cap=len(line)) == line
    assert all(render_record(form, record, cap=cap) == b"" for cap in range(len(line)))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("byte", [b"\x01", b"\xff", b'"', b"\xc2\x9b"])
def test_the_longest_record_of_a_ring_fits_a_line(form: Format, byte: bytes) -> None:
    kept = {"host": 255, "path": 2048, "query": 2048, "user_agent": 512, "referer": 512, "policies": 512}
    longest: dict[str, int | bytes | None] = {name: (byte * 2048)[: kept.get(name, 128)] for name in TEXTS}
    for about in faults().values():
        numbers = {"bytes_in": 2**64 - 1, "bytes_out": 2**64 - 1, "config": 2**48 - 1, "fault": int(str(about["code"])), "attempts": 255}
        assert render_record(form, {**longest, **numbers}, color=True).endswith(b"\n")


@settings(max_examples=300)
@given(st.integers(-2**63, 2**63 - 1))
def test_any_time_is_written(us: int) -> None:
    """The calendar is Python's within the years that have four digits, and held to them beyond."""
    shown = json.loads(render_record("json", {"time_us": us}))["time"]
    held = min(max(us, 0), 253_402_300_799_999_999)
    assert shown == (EPOCH + timedelta(microseconds=held)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert one_line(render_record("pretty", {"time_us": us}))


@pytest.mark.parametrize("day", range(-2, 3))
@pytest.mark.parametrize("year", [1970, 1972, 1999, 2000, 2024, 2100, 2400, 9999])
def test_the_turn_of_february(year: int, day: int) -> None:
    moment = datetime(year, 3, 1, 23, 59, 59, 999_999, tzinfo=UTC) + timedelta(days=day)
    us = (moment - EPOCH) // timedelta(microseconds=1)
    assert json.loads(render_record("json", {"time_us": us}))["time"] == moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="json, combined, pretty"):
        render_record(cast(Format, "xml"), {})
