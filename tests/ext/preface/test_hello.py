"""ClientHellos: what real clients send, tables of what is read and what is refused, every split of packets and records, a plain oracle."""
from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.core.fault import faults
from proxyd_ext.preface import hello as native
from proxyd_ext.preface.hello import offers, parse
from tests.reference import client_hello as oracle
from tests.reference.client_hello import extension, message, record, records, server_name, supported_versions, vector

REFUSED = -int(faults()["hello_malformed"]["code"])
HELLOS = Path(__file__).parent / "hellos"
BEHIND = (b"\x16", b"\x14\x03\x03\x00\x01\x01\x17\x03\x03\x00\x02ab", b"\0" * 20, b"\x16\x03\x01\x00\x02\x01\x00", b"GET /")
H2 = b"\x02h2\x08http/1.1"
# What each hello in the folder says: name, protocols, highest version, Encrypted ClientHello.
CAPTURED: dict[str, tuple[bytes | None, bytes | None, int, bool]] = {
    "chromium": (b"name.test", H2, 0x0304, True),
    "curl": (b"name.test", H2, 0x0304, False),
    "curl-tls10": (b"name.test", None, 0x0301, False),
    "openssl-split": (b"name.test", b"".join(b"\x0cprotocol-%03d" % i for i in range(60)), 0x0304, False),
    "openssl-tls12": (b"name.test", H2, 0x0303, False),
    "openssl-tls12-bare": (None, None, 0x0303, False),
    "openssl-tls13": (b"name.test", None, 0x0304, False),
    "openssl-tls13-bare": (None, b"\x0aacme-tls/1", 0x0304, False),
    "python-ssl": (b"name.test", None, 0x0304, False),
    "wget": (b"localhost", None, 0x0304, False),
}


def captured(name: str) -> bytes:
    return (HELLOS / f"{name}.bin").read_bytes()


def every_way(data: bytes) -> Any:
    """Parse whole, split at every byte, byte by byte, and with bytes behind; all must give the same, and `need` must be true."""
    rc, whole = parse(data)
    steps = [parse(data[:n]) for n in range(len(data) + 1)]
    need = 0
    for n, (result, hello) in enumerate(steps):
        if result == 0:
            assert hello["need"] > n
        if n < need:      # nothing changes
            assert (result, hello["need"]) == (0, need), f"{n} bytes, {need} were needed"
        elif result == 0:
            need = hello["need"]
        else:
            assert (result, hello) == (rc, whole), f"{n} bytes"
    assert parse(data, cuts=range(len(data))) == (rc, whole)
    if rc != 0:
        for tail in BEHIND:
            assert parse(data + tail) == (rc, whole), f"with {tail!r} behind"
    return rc, whole


def told(hello: Mapping[str, Any]) -> dict[str, Any]:
    return {key: hello[key] for key in ("name", "alpn", "version", "ech")}


def good(data: bytes) -> dict[str, Any]:
    """A hello that is read; each beginning of it wants more."""
    rc, hello = every_way(data)
    assert rc == 1, f"refused with alert {hello['alert']}"
    assert [parse(data[:n])[0] for n in range(len(data))] == [0] * len(data)
    assert hello["need"] == len(data)
    assert told(hello) == oracle.parse(data)
    return told(hello)


def refused(data: bytes) -> tuple[int, int]:
    """(the alert, the number of bytes that were enough)."""
    rc, hello = every_way(data)
    assert rc == REFUSED
    with pytest.raises(oracle.RefusedError) as said:
        oracle.parse(data)
    assert hello["alert"] == said.value.alert
    return hello["alert"], next(n for n in range(len(data) + 1) if parse(data[:n])[0] == REFUSED)


# ---- what real clients send


def test_all_captured_hellos_are_listed() -> None:
    assert sorted(file.stem for file in HELLOS.glob("*.bin")) == sorted(CAPTURED)
    assert b"Name.Test" in captured("openssl-tls13")
    assert len(captured("chromium")) > 1700       # with a key share of X25519MLKEM768
    assert captured("openssl-split")[517:520] == b"\x16\x03\x01"


@pytest.mark.parametrize("name", CAPTURED)
def test_captured(name: str) -> None:
    assert tuple(good(captured(name)).values()) == CAPTURED[name]


def joined(data: bytes) -> bytes:
    """The message of a hello, out of its records."""
    text = b""
    while data:
        size = int.from_bytes(data[3:5])
        text, data = text + data[5:5 + size], data[5 + size:]
    return text


@given(st.sampled_from(sorted(CAPTURED)), st.data())
def test_captured_in_other_records(name: str, data: st.DataObject) -> None:
    text = joined(captured(name))
    cuts = sorted(data.draw(st.sets(st.one_of(st.integers(1, 6), st.integers(1, len(text) - 1)), max_size=20)))
    split = records(text, cuts)
    packets = sorted(data.draw(st.lists(st.integers(0, len(split)), max_size=5)))
    rc, hello = parse(split, cuts=packets)
    assert (rc, hello["name"], hello["alpn"], hello["version"], hello["ech"]) == (1, *CAPTURED[name])
    assert parse(split[:-1])[0] == 0


# ---- what is read


@pytest.mark.parametrize(
    ("extensions", "expected"),
    [
        ([], (None, None, 0x0303, False)),
        ([b""], (None, None, 0x0303, False)),
        ([server_name(b"A.Example")], (b"a.example", None, 0x0303, False)),
        ([server_name(b"a.example.")], (b"a.example", None, 0x0303, False)),
        ([server_name(b"_sip-1.x--y")], (b"_sip-1.x--y", None, 0x0303, False)),
        ([server_name(b"192.0.2.1")], (b"192.0.2.1", None, 0x0303, False)),
        ([server_name(b"a" * 255)], (b"a" * 255, None, 0x0303, False)),
        ([server_name(b"a." * 127 + b"a")], (b"a." * 127 + b"a", None, 0x0303, False)),
        ([oracle.alpn(b"h2")], (None, b"\x02h2", 0x0303, False)),
        ([oracle.alpn(b"\xca\xca", b"x" * 255)], (None, b"\x02\xca\xca\xff" + b"x" * 255, 0x0303, False)),
        ([supported_versions(0x0304, 0x0303)], (None, None, 0x0304, False)),
        ([supported_versions(0x0301, 0x0302)], (None, None, 0x0302, False)),
        ([supported_versions(0xCACA, 0x7F1C, 0x0304, 0xFEFD, 0x0305)], (None, None, 0x0305, False)),
        ([supported_versions(0x0A0A, 0x7F1C)], (None, None, 0, False)),
        ([extension(0xFE0D, b"anything")], (None, None, 0x0303, True)),
        ([extension(0x0A0A, b""), extension(0x1A1A, b"\0"), server_name(b"a"), extension(51, bytes(1300))], (b"a", None, 0x0303, False)),
        ([extension(kind, b"") for kind in range(100, 400)], (None, None, 0x0303, False)),
    ],
)
def test_extensions(extensions: list[bytes], expected: tuple[Any, ...]) -> None:
    assert tuple(good(record(message(*extensions))).values()) == expected


def test_versions_of_old() -> None:
    for version in (0x0300, 0x0301, 0x0302, 0x0303):
        assert good(record(message(version=version)))["version"] == version
    for version in (0x0304, 0x0400, 0xFFFF):      # RFC 8446 §4.2.1: 1.2 is meant
        assert good(record(message(version=version)))["version"] == 0x0303
    for minor in (0, 1, 3, 4, 255):               # of the record: said to be ignored
        good(record(message(), version=0x0300 + minor))


def test_bounds_of_the_fields() -> None:
    good(record(message(session=b"")))
    good(record(message(suites=b"\0\1" * 3000)))
    good(record(message(compression=bytes(255))))


def test_the_longest_message() -> None:
    text = message(extension(51, bytes(16384 - 4 - 2 - 32 - 33 - 6 - 2 - 2 - 4)))
    assert len(text) == oracle.HELLO_MAX
    for data in (record(text), records(text, range(261, 16384, 261))):
        assert parse(data)[0] == 1
        assert parse(data[:-1])[0] == 0
    longer = message(extension(51, bytes(16384 - 4 - 2 - 32 - 33 - 6 - 2 - 2 - 4 + 1)))
    assert refused(records(longer[:200], [100])) == (oracle.ILLEGAL_PARAMETER, 5 + 4)
    assert refused(records(longer[:200], [1, 2, 3, 100])) == (oracle.ILLEGAL_PARAMETER, 4 * 5 + 4)


def test_records_that_are_too_many() -> None:
    text = message(server_name(b"a"))
    assert good(records(text, range(1, 64)))["name"] == b"a"
    assert refused(records(text, range(1, 65))) == (oracle.ILLEGAL_PARAMETER, 63 * 6 + 5)


def test_dribbled_bytes_cost_little() -> None:
    """Who heeds `need` calls a few times a record, and the last time for the message."""
    for name in CAPTURED:
        data = captured(name)
        calls, size = 0, 1
        while True:
            rc, hello = parse(data[:size])
            calls += 1
            if rc:
                break
            size = hello["need"]
        assert (rc, size) == (1, len(data))
        assert calls <= 8 + 3 * data.count(b"\x16\x03\x01")


# ---- what is refused

HELLO = message(server_name(b"a.example"), oracle.alpn(b"h2"), supported_versions(0x0304))
OVERFLOW, UNEXPECTED, ILLEGAL, DECODE, VERSION = (
    oracle.RECORD_OVERFLOW, oracle.UNEXPECTED_MESSAGE, oracle.ILLEGAL_PARAMETER, oracle.DECODE_ERROR, oracle.PROTOCOL_VERSION,
)


@pytest.mark.parametrize(
    ("data", "alert", "enough"),
    [
        (b"GET / HTTP/1.1\r\n", UNEXPECTED, 1), (b"SSH-2.0-x", UNEXPECTED, 1), (b"\0" * 8, UNEXPECTED, 1), (b"PROXY TCP4", UNEXPECTED, 1),
        (b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10", VERSION, 1), (b"\xff", VERSION, 1),
        (record(b"\x02\x28", kind=21), UNEXPECTED, 1), (record(b"ab", kind=23), UNEXPECTED, 1), (record(b"\x01", kind=20), UNEXPECTED, 1),
        (record(HELLO, version=0x0401), VERSION, 2), (record(HELLO, version=0x0203), VERSION, 2),
        (record(HELLO, version=0xFEFD), VERSION, 2),
        (b"\x16\x03\x01\x00\x00", UNEXPECTED, 5), (b"\x16\x03\x01\x40\x01", OVERFLOW, 5), (b"\x16\x03\x01\xff\xff\x01", OVERFLOW, 5),
        (record(b"\x02" + HELLO[1:]), UNEXPECTED, 6), (record(b"\x00\x00\x00\x00"), UNEXPECTED, 6),
        # The second record.
        (record(HELLO[:9]) + record(b""), UNEXPECTED, 19), (record(HELLO[:9]) + record(HELLO[9:], kind=23), UNEXPECTED, 15),
        (record(HELLO[:9]) + record(HELLO[9:], kind=0x80), UNEXPECTED, 15),
        (record(HELLO[:9]) + record(HELLO[9:], version=0x0201), VERSION, 16),
        (record(HELLO[:2]) + record(HELLO[2:] + b"\x01"), UNEXPECTED, 14), (record(HELLO[:9]) + b"\x16\x03\x03\x40\x01", OVERFLOW, 19),
        # Bytes behind the message in its record.
        (record(HELLO + b"\0"), UNEXPECTED, 9), (record(HELLO + HELLO), UNEXPECTED, 9),
        (record(HELLO[:9]) + record(HELLO[9:] + b"\0"), UNEXPECTED, 19),
    ],
)
def test_records_that_are_none(data: bytes, alert: int, enough: int) -> None:
    assert refused(data) == (alert, enough)


def cut_short(text: bytes, size: int) -> bytes:
    """The message with only so many bytes of its body."""
    return text[:1] + vector(text[4:4 + size], 3)


@pytest.mark.parametrize(
    ("text", "alert"),
    [
        *((cut_short(HELLO, size), DECODE) for size in (0, 1, 2, 33, 34, 35, 66, 67, 68, 72, 73, 76, 77, 80, 90, 100, len(HELLO) - 5)),
        (message(version=0x02FF), VERSION), (message(version=0x0002), VERSION), (message(version=0), VERSION),
        (message(session=bytes(33)), DECODE), (message(suites=b""), DECODE), (message(suites=b"\0\1\0"), DECODE),
        (message(compression=b""), DECODE),
        (b"\x01" + vector(HELLO[4:] + b"\0", 3), DECODE), (message()[:1] + vector(message()[4:] + b"\0", 3), DECODE),
        (message(b"\0"), DECODE), (message(b"\0\0\0"), DECODE), (message(extension(51, b"a")[:-1]), DECODE),
        (message(extension(51, b""), extension(51, b"")), ILLEGAL), (message(server_name(b"a"), server_name(b"a")), ILLEGAL),
        (message(extension(0xFFFF, b""), extension(0, vector(b"\0\0\1a", 2)), extension(0xFFFF, b"a")), ILLEGAL),
        # server_name
        (message(extension(0, b"")), DECODE), (message(extension(0, b"\0")), DECODE), (message(extension(0, b"\0\0")), DECODE),
        (message(extension(0, vector(b"\0", 2))), DECODE), (message(extension(0, vector(b"\0\0\0", 2))), DECODE),
        (message(extension(0, vector(b"\0\0\2a", 2))), DECODE), (message(extension(0, vector(b"\0\0\1a", 2) + b"\0")), DECODE),
        (message(extension(0, vector(b"\1\0\1a", 2))), ILLEGAL), (message(extension(0, vector(b"\0\0\1ab", 2))), ILLEGAL),
        (message(extension(0, vector(b"\0\0\1a\0\0\1b", 2))), ILLEGAL), (message(extension(0, vector(b"\0\0\1a\1\0\1b", 2))), ILLEGAL),
        *((message(server_name(name)), ILLEGAL) for name in (
            b".", b"..", b".a", b"a..b", b"a..", b"a\0", b"\0", b"a\0.example", b"a b", b"a:443", b"[::1]", b"::1", b"*.example", b"a/b",
            "å".encode(),
            b"a\n", b"a@b", b"a%2eb", b"a" * 256, b"a" * 255 + b".", b"a`", b"a{", b"a[", b"a,b",
        )),
        # application_layer_protocol_negotiation
        (message(extension(16, b"")), DECODE), (message(extension(16, b"\0")), DECODE), (message(extension(16, b"\0\0")), DECODE),
        (message(extension(16, vector(b"\0", 2))), DECODE), (message(oracle.alpn(b"h2", b"")), DECODE), (message(oracle.alpn(b"",
        b"h2")), DECODE),
        (message(extension(16, vector(b"\3h2", 2))), DECODE), (message(extension(16, vector(b"\2h2\1", 2))), DECODE),
        (message(extension(16, vector(b"\2h2", 2) + b"\0")), DECODE), (message(extension(16, b"\0\4\2h2")), DECODE),
        # supported_versions
        (message(extension(43, b"")), DECODE), (message(extension(43, b"\0")), DECODE), (message(extension(43, b"\1\3")), DECODE),
        (message(extension(43, b"\3\3\4\3")), DECODE), (message(extension(43, b"\4\3\4")), DECODE), (message(extension(43,
        b"\2\3\4\0")), DECODE),
        (message(supported_versions(*[0x0304] * 127)[:-2]), DECODE), (message(extension(43, vector(b"\3\4" * 127 + b"\3", 1))), DECODE),
    ],
)
def test_messages_that_are_none(text: bytes, alert: int) -> None:
    data = records(text, [5] if len(text) > 5 else [])
    assert refused(data) == (alert, len(data))


def test_what_was_read_before_the_fault_is_told() -> None:
    rc, hello = parse(record(message(server_name(b"A.example"), extension(16, b""))))
    assert (rc, hello["name"], hello["alpn"], hello["alert"]) == (REFUSED, b"a.example", None, DECODE)


# ---- against the oracle


def verdict(data: bytes) -> Any:
    try:
        return oracle.parse(data)
    except oracle.IncompleteError:
        return 0
    except oracle.RefusedError as refusal:
        return refusal.alert


def our_verdict(data: bytes, **options: Any) -> Any:
    rc, hello = parse(data, **options)
    if rc == 1:
        return told(hello)
    return hello["alert"] if rc < 0 else 0


LABEL = st.from_regex(rb"[a-zA-Z0-9_.\-]{1,12}", fullmatch=True)
EXTENSION = st.one_of(
    LABEL.map(server_name), st.binary(min_size=1, max_size=4).map(server_name),
    st.lists(st.binary(max_size=4), max_size=3).map(lambda names: oracle.alpn(*names)),
    st.lists(st.sampled_from([0x0A0A, 0x0301, 0x0303, 0x0304, 0x7F1C]), max_size=4).map(lambda numbers: supported_versions(*numbers)),
    st.builds(extension, st.sampled_from([0, 5, 10, 16, 43, 51, 0xFE0D, 0x1A1A]), st.binary(max_size=6)),
)


@given(st.data())
def test_as_the_oracle_reads_it(data: st.DataObject) -> None:
    version = data.draw(st.sampled_from([0x0303, 0x0301, 0x02FF]))
    text = message(*data.draw(st.lists(EXTENSION, max_size=4)), session=data.draw(st.binary(max_size=33)), version=version)
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(text) - 1))
        text = text[:at] + bytes([data.draw(st.integers(0, 255))]) + text[at + 1:]
    stream = records(text, sorted(data.draw(st.sets(st.integers(1, len(text) - 1), max_size=6))))
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(stream) - 1))
        stream = stream[:at] + bytes([data.draw(st.integers(0, 255))]) + stream[at + 1:]
    stream = stream[:data.draw(st.integers(0, len(stream)))] if data.draw(st.booleans()) else stream
    expected = verdict(stream)
    assert our_verdict(stream) == expected
    assert our_verdict(stream, cuts=range(len(stream))) == expected


# ---- the other two


def test_offers() -> None:
    for protocol in (b"h2", b"http/1.1"):
        assert offers(H2, protocol)
    for protocol in (b"", b"h", b"h3", b"h2 ", b"http/1.", b"http/1.0", b"2\x08http/1.1", b"\x02h2", b"H2"):
        assert not offers(H2, protocol)
    assert not offers(b"", b"h2")
    assert not offers(b"", b"")


def test_alert() -> None:
    assert native.alert(112) == struct.pack(">BHHBB", 21, 0x0303, 2, 2, 112)
