"""Records of flows in the three forms; what both kinds of records share is tested in test_render.py."""
from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd_ext.core.fault import faults
from proxyd_ext.log.render import render_record
from tests.ext.log.test_render import COMBINED, PIECES, is_steering, one_line, readable, unescaped
from tests.support.access_log import FORMATS, Format
from tests.support.records import read_record

Record = Mapping[str, int | bytes | None]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KINDS = {1: "tcp", 2: "tls", 3: "udp"}
ENDS = (
    "", "client", "server", "client_reset", "server_reset", "idle", "age", "drain", "down", "responses", "evicted", "refused", "shutdown",
)
FAULTS = {int(str(about["code"])): about for about in faults().values()}
NO_SERVER = int(str(faults()["no_server"]["code"]))
TEXTS = ("listener", "route", "client_ip", "upstream", "server", "tls_name")

awkward = st.one_of(st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join), st.binary(max_size=12))
protocols = st.lists(st.one_of(st.sampled_from([b"h2", b"http/1.1", b"\x0a\x0a", b"a,b"]), st.binary(min_size=1, max_size=9)), max_size=4)
flows = st.fixed_dictionaries(
    {"kind": st.integers(1, 3), "end": st.integers(1, 12)},
    optional={
        "time_us": st.integers(0, 253_402_300_799_999_999), "id": st.integers(0, 2**64 - 1), "bytes_in": st.integers(0, 2**64 - 1),
        "bytes_out": st.integers(0, 2**64 - 1), "packets_in": st.integers(0, 2**64 - 1), "packets_out": st.integers(0, 2**64 - 1),
        "config": st.integers(0, 2**48 - 1), "t_total_us": st.integers(0, 2**64 - 1),
        "t_connect_us": st.one_of(st.none(), st.integers(0, 2**32 - 2)), "engine": st.integers(0, 65535),
        "client_port": st.integers(0, 65535), "fault": st.sampled_from([0, *FAULTS]), "attempts": st.integers(0, 255),
        **dict.fromkeys(TEXTS, st.one_of(st.none(), awkward)), "request_id": st.one_of(st.none(), awkward),
    },
)


def alpn(names: list[bytes]) -> bytes:
    return b"".join(bytes([len(name)]) + name for name in names)


# ---------------------------------------------------------------- json

def expected_json(record: Record, names: list[bytes]) -> Iterator[tuple[str, object]]:
    def number(name: str) -> int:
        value = record.get(name, 0)
        assert isinstance(value, int)
        return value

    def seconds(us: int) -> str:
        return f"{us // 1_000_000}.{us % 1_000_000:06}"

    yield "time", (EPOCH + timedelta(microseconds=number("time_us"))).isoformat(timespec="microseconds").replace("+00:00", "Z")
    yield "id", readable(record["request_id"]) if record.get("request_id") else f"{number('id'):016x}"
    yield "kind", KINDS[number("kind")]
    for name in ("listener", "route"):
        if record.get(name):
            yield name, readable(record[name])
    yield "protocol", KINDS[number("kind")]
    if record.get("client_ip"):
        yield "client.address", readable(record["client_ip"])
    if number("client_port"):
        yield "client.port", number("client_port")
    for name in ("bytes_in", "bytes_out", *(("packets_in", "packets_out") if record["kind"] == 3 else ())):
        yield name, number(name)
    yield "t_total", seconds(number("t_total_us"))
    if record.get("t_connect_us") is not None:
        yield "t_connect", seconds(number("t_connect_us"))
    for name in ("upstream", "server"):
        if record.get(name):
            yield name, readable(record[name])
    if number("attempts"):
        yield "attempts", number("attempts")
    yield "end", ENDS[number("end")]
    if number("fault"):
        yield "error", FAULTS[number("fault")]["proxy_error"]
        yield "why", FAULTS[number("fault")]["sentence"]
    if record.get("tls_name"):
        yield "tls.server_name", readable(record["tls_name"])
    if names:
        yield "tls.alpn", ",".join(map(readable, names))
    yield "engine", number("engine")
    yield "config", f"{number('config'):012x}"


@settings(max_examples=200)
@given(flows, protocols)
def test_json_says_what_the_record_says(flow: Record, names: list[bytes]) -> None:
    text = one_line(render_record("json", {**flow, "tls_alpn": alpn(names)}))
    assert json.loads(text, object_pairs_hook=list, parse_float=str) == list(expected_json(flow, names))
    read_record(text)


def test_every_end_has_a_word() -> None:
    for end, word in enumerate(ENDS[1:], 1):
        assert json.loads(render_record("json", {"kind": 1, "end": end}))["end"] == word


@pytest.mark.parametrize(
    ("cut", "shown"), [(b"", None), (b"\x02", None), (b"\x02h", "h"), (b"\x02h2", "h2"), (b"\x02h2\x08", "h2"), (b"\x02h2\x08ht", "h2,ht")]
)
def test_a_list_of_protocols_that_the_ring_has_cut_shows_what_is_left(cut: bytes, shown: str | None) -> None:
    assert json.loads(render_record("json", {"kind": 2, "end": 1, "tls_alpn": cut})).get("tls.alpn") == shown


# ---------------------------------------------------------------- combined

@settings(max_examples=100)
@given(flows)
def test_combined_reads_back(flow: Record) -> None:
    read = COMBINED.fullmatch(one_line(render_record("combined", {**flow, "client_ip": b"192.0.2.7", "user_agent": b"not ours"})))
    assert read is not None
    kind, fault, listener = flow["kind"], flow.get("fault", 0), flow.get("listener")
    assert isinstance(kind, int)
    assert isinstance(fault, int)
    assert isinstance(listener, bytes | None)
    assert unescaped(read["request"]) == KINDS[kind].upper().encode() + b" " + (listener or b"-") + b" flow"
    assert int(read["status"]) == ((fault and FAULTS[fault]["status"]) or 200)
    assert (0 if read["size"] == "-" else int(read["size"])) == flow.get("bytes_out", 0)
    assert (read["user"], read["referer"], read["agent"]) == ("-", "-", "-")


def test_combined_to_the_letter() -> None:
    flow: Record = {"kind": 1, "end": 2, "time_us": 971_211_336_000_000, "client_ip": b"127.0.0.1", "listener": b"pg", "bytes_out": 2326}
    assert render_record("combined", flow) == b'127.0.0.1 - - [10/Oct/2000:20:55:36 +0000] "TCP pg flow" 200 2326 "-" "-"\n'
    refused = render_record("combined", {**flow, "end": 11, "fault": NO_SERVER, "bytes_out": 0})
    assert refused == b'127.0.0.1 - - [10/Oct/2000:20:55:36 +0000] "TCP pg flow" 503 - "-" "-"\n'


# ---------------------------------------------------------------- pretty

@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "EST+5")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("new_york")
def test_pretty_to_the_letter() -> None:
    flow: Record = {
        "kind": 1, "end": 1, "id": 0x7F3A91, "listener": b"pg", "upstream": b"postgres", "server": b"10.0.1.13:5432",
        "t_total_us": 12_340_000, "bytes_in": 812, "bytes_out": 3_565_158, "attempts": 2,
    }
    assert render_record("pretty", flow).decode() == (
        "19:00:00 TCP ok  12.3s  pg  in 812 B, out 3.4 MiB   postgres→10.0.1.13:5432   end client, 2 tries   id 00000000007f3a91\n"
    )
    assert render_record("pretty", {"kind": 3, "end": 9, "listener": b"dns", "packets_in": 1, "packets_out": 2}).decode() == (
        "19:00:00 UDP ok    0us  dns  in 0 B/1, out 0 B/2   end responses   id 0000000000000000\n"
    )
    hello: Record = {
        "kind": 2, "end": 11, "listener": b"sni", "tls_name": b"a.example", "tls_alpn": alpn([b"h2", b"http/1.1"]), "fault": NO_SERVER,
    }
    assert render_record("pretty", hello).decode() == (
        "19:00:00 TLS err   0us  sni  a.example (h2,http/1.1)  in 0 B, out 0 B   end refused: no server of the upstream is available"
        "   id 0000000000000000\n"
    )
    assert "sni  (h2)  in" in render_record("pretty", {"kind": 2, "end": 1, "listener": b"sni", "tls_alpn": alpn([b"h2"])}).decode()


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"), (999, "999 B"), (1_000, "1.0 KiB"), (1_075, "1.0 KiB"), (1_076, "1.1 KiB"), (102_348, "99.9 KiB"), (102_400, "100 KiB"),
        (1_023_999, "1000 KiB"), (1_024_000, "1.0 MiB"), (2**40, "1.0 TiB"), (2**64 - 1, "16384 PiB"),
    ],
)
def test_pretty_counts_bytes_in_units_of_1024(count: int, shown: str) -> None:
    assert f"in {shown}, out" in render_record("pretty", {"kind": 1, "end": 1, "bytes_in": count}).decode()


@settings(max_examples=150)
@given(flows, protocols)
def test_pretty_never_steers_the_terminal(flow: Record, names: list[bytes]) -> None:
    record = {**flow, "tls_alpn": alpn(names)}
    text = one_line(render_record("pretty", record))
    assert not any(is_steering(character) for character in text)
    coloured = render_record("pretty", record, color=True).decode()
    assert re.sub(r"\x1b\[(?:0|2|3[12])m", "", coloured) == text + "\n"


# ---------------------------------------------------------------- all

@pytest.mark.parametrize("form", FORMATS)
def test_a_line_that_does_not_fit_is_not_written(form: Format) -> None:
    record: Record = {"kind": 2, "end": 11, "fault": NO_SERVER, "listener": b"\xffl", "tls_name": b"a", "tls_alpn": alpn([b"h2"])}
    line = render_record(form, record)
    assert render_record(form, record, cap=len(line)) == line
    assert all(render_record(form, record, cap=cap) == b"" for cap in range(len(line)))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("byte", [b"\x01", b"\xff", b'"'])
def test_the_longest_record_of_a_ring_fits_a_line(form: Format, byte: bytes) -> None:
    longest: dict[str, int | bytes | None] = dict.fromkeys((*TEXTS, "request_id", "tls_alpn"), byte * 128)
    longest["tls_name"] = byte * 255
    counts = dict.fromkeys(("bytes_in", "bytes_out", "packets_in", "packets_out", "t_total_us"), 2**64 - 1)
    for fault in FAULTS:
        assert render_record(form, {**longest, **counts, "kind": 3, "end": 4, "fault": fault, "attempts": 255}, color=True).endswith(b"\n")
