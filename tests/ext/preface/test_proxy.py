"""PROXY headers: tables of what is read and what is refused, every split, then a plain oracle; and what is written is read."""
from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.core.fault import faults
from proxyd_ext.preface.proxy import parse, write
from tests.reference import proxy_header as oracle

REFUSED = -int(faults()["proxy_header"]["code"])
SIGNATURE = oracle.SIGNATURE
BEHIND = (b"GET / HTTP/1.1\r\n\r\n", b"\r\n", b"\0", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n", b"\x03\x00\x04abcd", SIGNATURE)
V4 = bytes([192, 0, 2, 1, 198, 51, 100, 2]) + struct.pack(">HH", 56324, 443)
V6 = IPv6Address("2001:db8::1").packed + IPv6Address("2001:db8::2").packed + struct.pack(">HH", 1, 65535)
UNIX = b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0")


def every_way(data: bytes, *, datagram: bool = False) -> Any:
    """Parse whole, split at every byte, byte by byte, and with bytes behind; all must give the same."""
    whole = parse(data, datagram=datagram)
    if not datagram:
        for cut in range(len(data) + 1):
            assert parse(data, cuts=[cut]) == whole, f"cut at {cut}"
        assert parse(data, cuts=range(len(data))) == whole, "byte by byte"
    if whole != 0:
        for tail in BEHIND:
            assert parse(data + tail, datagram=datagram) == whole, f"with {tail!r} behind"
    return whole


def good(data: bytes, *, datagram: bool = False) -> dict[str, Any]:
    """A header that is read, with addresses as the oracle has them; each beginning of it wants more (a datagram has no more)."""
    header = every_way(data, datagram=datagram)
    assert isinstance(header, dict), f"refused with {header}"
    assert header["size"] == len(data)
    assert [parse(data[:n], datagram=datagram) for n in range(len(data))] == [REFUSED if datagram else 0] * len(data)
    assert plain(header) == oracle.parse(data, oracle.DGRAM if datagram else oracle.STREAM)
    return header


def refused(data: bytes, *, datagram: bool = False) -> int:
    """The number of bytes that are enough to refuse it."""
    assert every_way(data, datagram=datagram) == REFUSED
    assert oracle.parse(data, oracle.DGRAM if datagram else oracle.STREAM) is None
    return next(n for n in range(len(data) + 1) if parse(data[:n]) == REFUSED)


def plain(header: Any) -> Any:
    """With addresses in place of texts."""
    if not isinstance(header, dict):
        return header
    return header | {side: header[side] and (ip_address(header[side][0]), header[side][1]) for side in ("source", "destination")}


def binary(rest: bytes, *, command: int = 0x21, kind: int = 0x11, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack(">BBH", command, kind, len(rest) if length is None else length) + rest


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack(">BH", kind, len(value)) + value


def summed(front: bytes, behind: bytes = b"", **options: int) -> bytes:
    """A version 2 header with its checksum between `front` and `behind`."""
    crc = oracle.crc32c(binary(front + tlv(3, bytes(4)) + behind, **options))
    return binary(front + tlv(3, struct.pack(">I", crc)) + behind, **options)


# ---- version 1


@pytest.mark.parametrize(
    ("line", "source", "destination"),
    [
        (b"TCP4 192.168.0.1 192.168.0.11 56324 443", ("192.168.0.1", 56324), ("192.168.0.11", 443)),
        (b"TCP4 0.0.0.0 255.255.255.255 0 65535", ("0.0.0.0", 0), ("255.255.255.255", 65535)),
        (b"TCP6 2001:DB8::1 2001:db8:0:0:0:0:0:2 1 10", ("2001:db8::1", 1), ("2001:db8::2", 10)),
        (b"TCP6 :: ::1 1 1", ("::", 1), ("::1", 1)),
        (b"TCP6 1:2:3:4:5:6:7:: ::2:3:4:5:6:7:8 1 1", ("1:2:3:4:5:6:7:0", 1), ("0:2:3:4:5:6:7:8", 1)),
        (b"TCP6 ::ffff:192.0.2.1 2001:db8::1 1 1", ("192.0.2.1", 1), ("2001:db8::1", 1)),
        (b"TCP6 ::ffff:c000:201 1:2:3:4:5:6:1.2.3.4 1 1", ("192.0.2.1", 1), ("1:2:3:4:5:6:102:304", 1)),
        (b"TCP6 " + b" ".join([b"ffff:" * 7 + b"ffff"] * 2) + b" 65535 65535", ("ffff:" * 7 + "ffff", 65535),
        ("ffff:" * 7 + "ffff", 65535)),
    ],
)
def test_lines(line: bytes, source: tuple[str, int], destination: tuple[str, int]) -> None:
    header = good(b"PROXY " + line + b"\r\n")
    assert (header["source"], header["destination"]) == (source, destination)
    assert (header["version"], header["transport"], header["local"]) == (1, 1, False)


@pytest.mark.parametrize("rest", [b"", b" ", b" a b\tc \xff\0", b" \r \n \r\r", b" " + b"ffff:" * 15 + b"ffff 65535 65535",
                                  b" " + b"x" * 91])
def test_unknown(rest: bytes) -> None:
    header = good(b"PROXY UNKNOWN" + rest + b"\r\n")
    assert (header["version"], header["transport"], header["local"], header["source"]) == (1, 0, True, None)


ADDRESSES = (
    b"", b"1.2.3", b"1.2.3.4.5", b"1.2.3.256", b"01.2.3.4", b"1.2.3.00", b"1..3.4", b".1.2.3.4", b"1.2.3.4.", b"1.2.3.-4", b"1.2.3.+4",
    b"0x1.2.3.4",
    b"1.2.3.4\0", b"a.b.c.d", b"::1", b"1.2.3.4/8", b"localhost",
)
ADDRESSES_V6 = (
    b"", b":", b":::", b"1", b"1:2:3:4:5:6:7", b"1:2:3:4:5:6:7:8:9", b"1::2::3", b"::1::", b"12345::", b"g::1", b"1:2:3:4:5:6:7:8::",
    b"::1:2:3:4:5:6:7:8", b"1.2.3.4", b"::1.2.3", b"::01.2.3.4", b"::1.2.3.4.5", b"::1.2.3.4:5", b"1:2:3:4:5:6:7:1.2.3.4", b"fe80::1%eth0",
    b"[::1]", b":1",
    b"::1\0", b"1:",
)


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_that_are_none(address: bytes) -> None:
    refused(b"PROXY TCP4 " + address + b" 1.2.3.4 1 1\r\n")
    refused(b"PROXY TCP4 1.2.3.4 " + address + b" 1 1\r\n")


@pytest.mark.parametrize("address", ADDRESSES_V6)
def test_addresses_that_are_none_of_ipv6(address: bytes) -> None:
    refused(b"PROXY TCP6 " + address + b" ::1 1 1\r\n")
    refused(b"PROXY TCP6 ::1 " + address + b" 1 1\r\n")


@pytest.mark.parametrize("port", [b"", b"00", b"01", b"65536", b"99999", b"655350", b"100000000000000000000", b"-1", b"+1", b" 1", b"0x1",
b"1.", b"a", b"1\0"])
def test_ports_that_are_none(port: bytes) -> None:
    refused(b"PROXY TCP4 1.2.3.4 1.2.3.4 " + port + b" 1\r\n")
    refused(b"PROXY TCP6 ::1 ::1 1 " + port + b"\r\n")


LINES = [
    (b"GET / HTTP/1.1\r\n", 1), (b"\x16\x03\x01\x02\x00", 1), (b"proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n", 1), (b"PRI * HTTP/2.0\r\n", 3),
    (b"PUT / HTTP/1.1\r\n", 2), (b" PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n", 1), (b"PROXY\tTCP4 1.2.3.4 1.2.3.4 1 1\r\n", 6),
    (b"PROXY  TCP4 1.2.3.4 1.2.3.4 1 1\r\n", 7), (b"PROXY TCP 1.2.3.4 1.2.3.4 1 1\r\n", 10), (b"PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n", 10),
    (b"PROXY tcp4 1.2.3.4 1.2.3.4 1 1\r\n", 7), (b"PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n", 8), (b"PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n", 12),
    (b"PROXY TCP4 1.2.3.4  1.2.3.4 1 1\r\n", 20), (b"PROXY TCP4 1.2.3.4 1.2.3.4  1 1\r\n", 28),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1  1\r\n", 30),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n", 31), (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n", 31), (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\r\n", 32),
    (b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1 x\r\n", 31), (b"PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", 29), (b"PROXY TCP4\r\n", 11), (b"PROXY\r\n", 6),
    (b"PROXY TCP4 1.2.3.4\r1.2.3.4 1 1\r\n", 19), (b"PROXY UNKNOWNX\r\n", 14), (b"PROXY UNKNOWN\n", 14), (b"PROXY UNKNOWN\rX\r\n", 15),
    (b"PROXY UNKNOWS\r\n", 13),
    # The bound: 107 bytes with CRLF. A line that cannot keep it is refused where that is certain.
    (b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n", 106), (b"PROXY UNKNOWN " + b"x" * 92 + b"\r" * 9, 106),
    (b"PROXY TCP6 " + b" ".join([b"ffff:" * 6 + b"255.255.255.255"] * 2) + b" 0 0\r\n", 102),
    (b"PROXY TCP6 " + b"ffff:" * 6 + b"255.255.255.255 " + b"ffff:" * 7 + b"ffff 65535 65535\r\n", 106),
]


@pytest.mark.parametrize(("line", "enough"), LINES)
def test_lines_that_are_none(line: bytes, enough: int) -> None:
    assert refused(line) == enough


@given(st.data())
def test_lines_as_the_oracle_reads_them(data: st.DataObject) -> None:
    """Lines with any bytes changed, whole and cut off: accepted as the oracle does, and waited for only where it finds an ending."""
    address = st.one_of(
        st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str), st.ip_addresses(v=6).map(lambda ip: ip.exploded),
        st.ip_addresses(v=4).map("::ffff:{}".format),
        st.from_regex(r"[0-9a-f]{0,4}(:{1,2}[0-9a-f]{0,4}){0,8}(\.[0-9]{1,3}){0,3}", fullmatch=True),
    )
    port = st.one_of(st.integers(0, 65535).map(str), st.from_regex(r"[0-9]{1,6}", fullmatch=True))
    fields = [data.draw(st.sampled_from(["TCP4", "TCP6", "TCP6", "UNKNOWN"])),
    *(data.draw(each) for each in (address, address, port, port))]
    line = f"PROXY {' '.join(fields)}\r\n".encode()
    for _ in range(data.draw(st.integers(0, 2))):
        at, skip = data.draw(st.integers(0, len(line))), data.draw(st.integers(0, 1))
        line = line[:at] + data.draw(st.sampled_from([b"", b" ", b":", b".", b"0", b"1", b"\r", b"\n", b"a", b"\0"])) + line[at + skip:]
    line = line[:data.draw(st.integers(0, len(line)))]
    begun = oracle.may_become(line) or SIGNATURE.startswith(line)     # which a changed line may become
    assert plain(parse(line)) == (oracle.parse(line) or (0 if begun else REFUSED))


# ---- version 2


@pytest.mark.parametrize(
    ("data", "source", "destination"),
    [
        (binary(V4), ("192.0.2.1", 56324), ("198.51.100.2", 443)),
        (binary(V6, kind=0x21), ("2001:db8::1", 1), ("2001:db8::2", 65535)),
        (binary(IPv6Address("::ffff:1.2.3.4").packed + V6[16:], kind=0x21), ("1.2.3.4", 1), ("2001:db8::2", 65535)),
        (binary(V4 + tlv(4, b"") + tlv(0x20, b"\x01abcd") + tlv(4, b"xyz") + tlv(0xEA, b"vpce") + tlv(0, b"")), ("192.0.2.1", 56324),
        ("198.51.100.2", 443)),
        (summed(V4), ("192.0.2.1", 56324), ("198.51.100.2", 443)),
    ],
)
def test_binary(data: bytes, source: tuple[str, int], destination: tuple[str, int]) -> None:
    header = good(data)
    assert (header["source"], header["destination"]) == (source, destination)
    assert (header["version"], header["transport"], header["local"]) == (2, 1, False)
    assert (header["alpn"], header["authority"], header["unique_id"]) == (None, None, None)


@pytest.mark.parametrize(
    ("data", "transport"),
    [
        (binary(b"", command=0x20, kind=0), 0),
        (binary(V4, command=0x20), 0),
        (binary(b"no fields", command=0x20, kind=0xFF), 0),
        (binary(b"", kind=0), 0),
        (binary(b"whatever", kind=0), 0),
        (binary(b"ab", kind=0x01), 1),
        (binary(b"", kind=0x10), 0),
        (binary(V6 + b"x", kind=0x20), 0),
        (binary(UNIX, kind=0x31), 1),
        (summed(UNIX, kind=0x31), 1),
    ],
)
def test_the_connection_speaks_for_itself(data: bytes, transport: int) -> None:
    header = good(data)
    assert (header["local"], header["source"], header["destination"], header["transport"]) == (True, None, None, transport)


@pytest.mark.parametrize("front", [V4, V6, UNIX])
def test_fields(front: bytes) -> None:
    fields = tlv(1, b"h2") + tlv(4, b"\3\0\4") + tlv(2, "å.example".encode()) + tlv(5, bytes(range(128)))
    kind = {len(V4): 0x11, len(V6): 0x21, len(UNIX): 0x31}[len(front)]
    for data in (binary(front + fields, kind=kind), summed(front, fields, kind=kind), summed(front + fields, kind=kind)):
        header = good(data)
        assert (header["alpn"], header["authority"], header["unique_id"]) == (b"h2", "å.example".encode(), bytes(range(128)))
    header = good(binary(front + tlv(1, b"") + tlv(2, b"") + tlv(5, b""), kind=kind))
    assert (header["alpn"], header["authority"], header["unique_id"]) == (b"", b"", b"")


@pytest.mark.parametrize(
    ("data", "enough"),
    [
        (b"\r\n\r\n\r\n", 5), (SIGNATURE[:11] + b"\r" + bytes(4), 12), (b"\r\r", 2), (binary(V4, command=0x11), 13),
        (binary(V4, command=0x31), 13),
        (binary(V4, command=0x22), 13), (binary(V4, command=0x2F), 13), (binary(V4, kind=0x41), 14), (binary(V4, kind=0xF1), 14),
        (binary(V4, kind=0x13), 14), (binary(V4, kind=0x1F), 14), (binary(V4, kind=0x12), 14), (binary(b"", kind=0x02), 14),
        (binary(V4, length=11), 16), (binary(V4[:-1]), 16), (binary(b""), 16), (binary(V4, kind=0x21), 16),
        (binary(UNIX[:-1], kind=0x31), 16),
        (binary(b"", length=oracle.READ_MAX - 15, command=0x20), 16), (binary(b"", length=0xFFFF), 15),
        # Fields: what they say of their length is enough.
        (binary(V4 + b"\0"), 16), (binary(V4 + b"\4\0"), 16), (binary(V4 + b"\4\0\1"), 31), (binary(V4 + tlv(4, b"abc") + b"\0\0"), 31),
        (binary(V4 + b"\4\xff\xff" + bytes(100)), 31), (binary(V4 + tlv(5, bytes(129))), 31), (binary(V4 + tlv(3, b"abc")), 31),
        (binary(V4 + tlv(3, bytes(5))), 31),
        (binary(V4 + tlv(1, b"a") + tlv(1, b"a")), 35), (binary(V4 + tlv(2, b"") + tlv(2, b"")), 34), (binary(V4 + tlv(5, b"") + tlv(4,
        b"") + tlv(5, b"")), 37),
        (summed(V4, tlv(3, bytes(4))), 38), (binary(V4 + tlv(3, bytes(4))), 35), (summed(V4, tlv(4, b"a"))[:-1] + b"b", 39),
        (summed(V4).replace(V4, V4[::-1]), 35),
    ],
)
def test_binary_that_is_none(data: bytes, enough: int) -> None:
    assert refused(data) == enough


def test_a_header_of_the_longest() -> None:
    room = oracle.READ_MAX - 16 - 12 - 3
    header = parse(binary(V4 + tlv(4, bytes(room))))
    assert isinstance(header, dict)
    assert header["size"] == oracle.READ_MAX
    assert parse(binary(V4 + tlv(4, bytes(room + 1)))[:16]) == REFUSED


def test_datagrams() -> None:
    header = good(binary(V4, kind=0x12), datagram=True)
    assert (header["source"], header["transport"], header["local"]) == (("192.0.2.1", 56324), 2, False)
    assert good(binary(V6, kind=0x22), datagram=True)["source"] == ("2001:db8::1", 1)
    assert good(binary(b"", command=0x20, kind=0), datagram=True)["local"]
    assert good(binary(UNIX, kind=0x32), datagram=True)["local"]
    for data in (b"", b"\r", b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n",
    b"PROXY UNKNOWN\r\n", binary(V4), binary(b"", kind=0x01), binary(V4, kind=0x12, length=13)):
        assert parse(data, datagram=True) == REFUSED


@given(st.data())
def test_binary_as_the_oracle_reads_it(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([0x11, 0x12, 0x21, 0x22, 0x31, 0x00, 0x10, 0x02]))
    size = oracle.ADDRESSES.get(kind >> 4, 0)
    front = data.draw(st.binary(min_size=size, max_size=size))
    field = st.builds(tlv, st.sampled_from([0, 1, 2, 3, 4, 5, 0x20]), st.one_of(st.binary(max_size=5),
    st.binary(min_size=127, max_size=129)))
    fields = b"".join(data.draw(st.lists(field, max_size=3)))
    make = summed if data.draw(st.booleans()) else binary
    message = make(front + fields, kind=kind, command=data.draw(st.sampled_from([0x21, 0x21, 0x21, 0x20])))
    if data.draw(st.booleans()):
        at = data.draw(st.integers(12, len(message) - 1))
        message = message[:at] + bytes([data.draw(st.integers(0, 255))]) + message[at + 1:]
    datagram = data.draw(st.booleans())
    message = message[:data.draw(st.integers(len(message) - 20, len(message)))]
    expected = oracle.parse(message, oracle.DGRAM if datagram else oracle.STREAM)
    got = parse(message, datagram=datagram)
    if expected is not None:
        assert plain(got) == expected
        if not datagram:
            assert [parse(message[:n]) for n in range(expected["size"])] == [0] * expected["size"]
    elif not datagram:
        assert got in (0, REFUSED)
        if got == 0:      # it names its length, and is not that long yet
            assert len(message) < 16 + int.from_bytes(message[14:16])
        assert parse(message, cuts=range(len(message))) == got
    else:
        assert got == REFUSED


# ---- writing

addresses = st.one_of(
    st.tuples(st.ip_addresses(), st.integers(0, 65535)),
    st.sampled_from([(IPv4Address("0.0.0.0"), 0), (IPv6Address("::"), 0), (IPv6Address("::1.2.3.4"), 9)]),
).filter(lambda endpoint: getattr(endpoint[0], "ipv4_mapped", None) is None)


@given(source=addresses, destination=addresses, version=st.sampled_from([1, 2]), datagram=st.booleans(), crc=st.booleans(),
       unique_id=st.one_of(st.none(), st.binary(max_size=128)))
def test_what_is_written_is_read(source: Any, destination: Any, version: int, datagram: bool, crc: bool, unique_id: bytes | None) -> None:
    datagram &= version == 2
    ends = [(str(address), port) for address, port in (source, destination)]
    text = write(version, *ends, datagram=datagram, crc=crc, unique_id=unique_id)
    header = plain(parse(text, datagram=datagram))
    assert header == oracle.parse(text, oracle.DGRAM if datagram else oracle.STREAM)
    assert header == oracle.header(len(text), version, 2 if datagram else 1, source, destination) | {
        "unique_id": unique_id if version == 2 else None,
    }
    assert len(text) <= (107 if version == 1 else 256)


@pytest.mark.parametrize(
    ("source", "destination", "line"),
    [
        (("1.2.3.4", 80), ("255.255.255.255", 65535), b"PROXY TCP4 1.2.3.4 255.255.255.255 80 65535\r\n"),
        (("2001:db8::1", 0), ("::1", 10), b"PROXY TCP6 2001:db8::1 ::1 0 10\r\n"),
        (("1.2.3.4", 1), ("::1", 1), b"PROXY TCP6 ::ffff:102:304 ::1 1 1\r\n"),
        (("::1", 1), ("0.0.255.16", 1), b"PROXY TCP6 ::1 ::ffff:0:ff10 1 1\r\n"),
        (("unix", 0), ("1.2.3.4", 1), b"PROXY UNKNOWN\r\n"),
        (("1.2.3.4", 1), ("unix", 0), b"PROXY UNKNOWN\r\n"),
    ],
)
def test_lines_that_are_written(source: tuple[str, int], destination: tuple[str, int], line: bytes) -> None:
    assert write(1, source, destination, crc=True, unique_id=b"a") == line
    header = good(line)
    assert header["local"] == (b"UNKNOWN" in line)


def test_binary_that_is_written() -> None:
    source, destination = ("192.0.2.1", 56324), ("198.51.100.2", 443)
    assert write(2, source, destination) == binary(V4)
    assert write(2, source, destination, datagram=True) == binary(V4, kind=0x12)
    assert write(2, source, destination, crc=True) == summed(V4)
    assert write(2, source, destination, unique_id=b"id", crc=True) == summed(V4 + tlv(5, b"id"))
    assert write(2, source, ("2001:db8::2", 443)) == binary(
        IPv6Address("::ffff:192.0.2.1").packed + IPv6Address("2001:db8::2").packed + V4[8:], kind=0x21)
    assert write(2, ("unix", 0), destination) == binary(b"", command=0x20, kind=0)
    assert write(2, source, ("unix", 0), unique_id=b"id", crc=True) == summed(tlv(5, b"id"), command=0x20, kind=0)
    with pytest.raises(ValueError, match="unique id"):
        write(2, source, destination, unique_id=bytes(129))


def test_a_datagram_has_no_line() -> None:
    assert write(1, ("192.0.2.1", 1), ("192.0.2.2", 1), datagram=True) == b"PROXY UNKNOWN\r\n"
