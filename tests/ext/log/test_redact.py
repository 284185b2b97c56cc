"""Redaction: what must not be told is in no line, and everything else is as it was."""
from __future__ import annotations

import gc
import ipaddress
import re
from pathlib import Path
from typing import Literal, cast
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd_ext.log import AccessLog, Rules
from proxyd_ext.log.redact import redacted
from tests.support.access_log import FORMATS, Format

PIECES = [
    b"token", b"%74oken", b"TOKEN", b"%54%4f%4B%45%4e", b"to+ken", b"tok", b"%", b"%7", b"%zz", b"a", b"secret", b"=", b"=", b"=",
    b"&", b"&", b"&", b";", b"?", b"#", b"+", b"%3d", b"%26", b"\xff", b"",
]
queries = st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)


def expected(text: bytes, names: set[bytes], *, query: bool) -> bytes:
    """The same in Python: cut at what separates, and let the value of a hidden name swallow up to the next `&`."""
    out, at = b"", 0
    may_begin = query
    while at < len(text):
        if may_begin:
            pair = re.match(rb"([^=&;?#]*)=([^&]*)", text[at:])
            if pair and unquote_to_bytes(pair[1].replace(b"+", b" ")).lower() in names:
                out += pair[1] + b"=" + (b"***" if pair[2] else b"")
                at += pair.end()
                may_begin = False
                continue
        out += text[at : at + 1]
        may_begin = text[at : at + 1] in (b"&", b";", b"?", b"#")
        at += 1
    return out


@settings(max_examples=400)
@given(queries)
def test_parameters_as_python_would(text: bytes) -> None:
    rules = Rules(parameters=["token", "to ken"])
    shown = redacted(rules, {"query": text, "referer": text})
    assert shown["query"] == expected(text, {b"token", b"to ken"}, query=True)
    assert (shown["referer"] or b"") == expected(text, {b"token", b"to ken"}, query=False)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        (b"token=abc", b"token=***"),
        (b"a=1&token=abc&b=2", b"a=1&token=***&b=2"),
        (b"%74%6Fken=abc", b"%74%6Fken=***"),
        (b"Token=abc", b"Token=***"),
        (b"token=a&token=b", b"token=***&token=***"),
        (b"token=a;b=c", b"token=***"),           # who splits at `;` only could have meant either
        (b"a=1;token=b", b"a=1;token=***"),
        (b"token=a=b=c", b"token=***"),
        (b"token", b"token"),
        (b"token=", b"token="),
        (b"tokens=a&xtoken=b", b"tokens=a&xtoken=b"),
        (b"a=token=b", b"a=token=b"),
    ],
)
def test_what_is_hidden(query: bytes, shown: bytes) -> None:
    assert redacted(Rules(parameters=["token"]), {"query": query})["query"] == shown


@pytest.mark.parametrize(
    ("referer", "shown"),
    [
        (b"https://a.example/x?token=1&b=2", b"https://a.example/x?token=***&b=2"),
        (b"https://a.example/cb#token=1&b=2", b"https://a.example/cb#token=***&b=2"),
        (b"https://a.example/token=1", b"https://a.example/token=1"),
    ],
)
def test_the_referer_has_a_query_too(referer: bytes, shown: bytes) -> None:
    assert redacted(Rules(parameters=["token"]), {"referer": referer})["referer"] == shown


def test_the_longest_texts_of_a_ring() -> None:
    """Where hiding makes most of them: one byte becomes three."""
    rules = Rules(parameters=["k"])
    shown = redacted(rules, {"query": b"k=v&" * 512, "referer": b"?k=v" + b"&k=v" * 127})
    assert (shown["query"], shown["referer"]) == (b"k=***&" * 512, b"?k=***" + b"&k=***" * 127)


@pytest.mark.parametrize("form", FORMATS)
def test_the_longest_line_fits_what_it_is_given(form: Format, target: tuple[Path, int]) -> None:
    path, fd = target
    log = AccessLog(fd, form, 1, rules=Rules(parameters=["\x01"], frame="rfc5424", machine="m" * 300))
    log.submit(0, {"method": b"GET", "query": b"%01=v&\x01=v&" * 186, "referer": b"?\x01=v&" * 102, "path": b"\x01" * 2048})
    log.start()
    log.stop()
    assert path.read_bytes().count(b"\n") == 1


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (b"192.0.2.77", b"192.0.2.0"), (b"2001:db8:1:2:3:4:5:6", b"2001:db8:1::"), (b"::1", b"::"), (b"unix", b"***"), (b"", b""),
        (b"fe80::1%eth0", b"***"), (None, None),
    ],
)
def test_an_address_keeps_its_network(address: bytes | None, shown: bytes | None) -> None:
    record = redacted(Rules(hide=["client.ip"]), {"client_ip": address, "client_port": 40_000})
    assert (record["client_ip"], record["client_port"]) == (shown, 0)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_any_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    mapped = getattr(address, "ipv4_mapped", None) or address
    network = ipaddress.ip_network(f"{mapped}/{24 if mapped.version == 4 else 48}", strict=False)
    shown = redacted(Rules(hide=["client.ip"]), {"client_ip": str(address).encode()})["client_ip"]
    assert isinstance(shown, bytes)
    assert ipaddress.ip_address(shown.decode()) == network.network_address


def test_fields_that_a_record_shows() -> None:
    record = {"host": b"a.example", "user_agent": b"curl", "referer": b"https://x", "path": b"/x"}
    shown = redacted(Rules(hide=["host", "user_agent", "referer"]), record)
    assert [shown[name] for name in record] == [b"***", b"***", b"***", b"/x"]
    assert redacted(Rules(hide=["referer"], parameters=["token"]), {"referer": None})["referer"] is None


def test_nothing_else_changes() -> None:
    record: dict[str, int | bytes | None] = {
        "id": 7, "path": b"/token=1", "query": b"a=b", "user": b"ann", "client_ip": b"10.0.0.9", "client_port": 4, "status": 404,
    }
    plain = redacted(Rules(), record)
    assert plain == redacted(Rules(parameters=["token"]), record)
    assert {name: plain[name] for name in record} == record


def test_the_collector_leaves_the_rules_to_the_thread(target: tuple[Path, int]) -> None:
    """A log that is garbage within a cycle is stopped first, and what it still writes is redacted."""
    log = AccessLog(target[1], "json", 1, rules=Rules(parameters=["token"]))
    for _ in range(1_000):
        log.submit(0, {"query": b"token=hunter2"})
    log.start()
    cycle: list[object] = [log]
    cycle.append(cycle)
    del log, cycle
    gc.collect()
    text = target[0].read_bytes()
    assert text.count(b"token=***") == 1_000
    assert b"hunter2" not in text


def test_words_that_say_nothing() -> None:
    with pytest.raises(ValueError, match="no cookie"):
        Rules(hide=["cookie"])
    for kind, percent in (("6xx", 1), ("2xx", 101)):
        with pytest.raises(ValueError, match="no rule"):
            Rules(keep={kind: percent})
    with pytest.raises(ValueError, match="no frame"):
        Rules(frame=cast(Literal["none"], "xml"))
