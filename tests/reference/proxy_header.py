"""The PROXY protocol with regular expressions, `ipaddress` and `struct`; whether a beginning can be completed, by trying it."""
from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from itertools import product
from typing import Any

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LINE_MAX, READ_MAX = 107, 4096
STREAM, DGRAM = 1, 2
ADDRESSES = {1: 12, 2: 36, 3: 216}
Header = dict[str, Any]

_ADDRESS, _PORT = rb"([0-9A-Fa-f.:]+)", rb"(0|[1-9]\d{0,4})"
_INET = b" ".join([rb"TCP([46])", _ADDRESS, _ADDRESS, _PORT, _PORT])
_LINE = re.compile(rb"PROXY (?:(UNKNOWN)(?: .*?)?|" + _INET + rb")\r\n", re.DOTALL)


def header(size: int, version: int, transport: int, source: Any = None, destination: Any = None, **tlvs: bytes) -> Header:
    told = {"alpn": None, "authority": None, "unique_id": None} | tlvs
    return {"size": size, "version": version, "transport": transport, "local": source is None, "source": source,
            "destination": destination} | told


def crc32c(data: bytes) -> int:
    """Bit by bit (RFC 3720 §12.1)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ 0xFFFFFFFF


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def parse(data: bytes, transport: int = STREAM) -> Header | None:
    """The header at the front of `data`; None: it is malformed, or not complete."""
    if data.startswith(SIGNATURE):
        return _binary(data, transport)
    return _line(data) if transport == STREAM else None


def _line(data: bytes) -> Header | None:
    line = _LINE.match(data[:LINE_MAX])
    if line is None:
        return None
    if line[1]:
        return header(line.end(), 1, 0)
    kind = IPv4Address if line[2] == b"4" else IPv6Address
    try:
        source, destination = _plain(kind(line[3].decode())), _plain(kind(line[4].decode()))
    except ValueError:
        return None
    ports = int(line[5]), int(line[6])
    if max(ports) > 65535:
        return None
    return header(line.end(), 1, STREAM, (source, ports[0]), (destination, ports[1]))


def _binary(data: bytes, transport: int) -> Header | None:
    if len(data) < 16:
        return None
    command, kind, length = struct.unpack_from(">BBH", data, 12)
    size = 16 + length
    if command not in (0x20, 0x21) or size > READ_MAX or len(data) < size:
        return None
    if command == 0x20:
        return header(size, 2, 0)
    family, told = kind >> 4, kind & 15
    if family > 3 or told not in (0, transport):
        return None
    if not family or not told:
        return header(size, 2, told)
    if length < ADDRESSES[family]:
        return None
    tlvs = _tlvs(data[:size], 16 + ADDRESSES[family])
    if tlvs is None:
        return None
    if family == 3:
        return header(size, 2, told, **tlvs)
    wide = 4 if family == 1 else 16
    a, b, *ports = struct.unpack_from(f">{wide}s{wide}sHH", data, 16)
    kind_of = IPv4Address if family == 1 else IPv6Address
    return header(size, 2, told, (_plain(kind_of(a)), ports[0]), (_plain(kind_of(b)), ports[1]), **tlvs)


def _tlvs(whole: bytes, at: int) -> dict[str, bytes] | None:
    names = {1: "alpn", 2: "authority", 3: "crc", 5: "unique_id"}
    out: dict[str, bytes] = {}
    while at < len(whole):
        if at + 3 > len(whole):
            return None
        kind, size = struct.unpack_from(">BH", whole, at)
        value = whole[at + 3:at + 3 + size]
        if len(value) != size:
            return None
        if kind in names:
            if names[kind] in out or (kind == 5 and size > 128) or (kind == 3 and size != 4):
                return None
            out[names[kind]] = value
            if kind == 3:
                summed = crc32c(whole[:at + 3] + bytes(4) + whole[at + 7:])
        at += 3 + size
    if "crc" in out and int.from_bytes(out.pop("crc")) != summed:
        return None
    return out


def _endings() -> Iterator[bytes]:
    """Texts that may complete half an address: up to four of these pieces."""
    seen = set()
    for count in range(5):
        for pieces in product((b"0", b":", b"::", b".0", b"1:"), repeat=count):
            text = b"".join(pieces)
            if text not in seen:
                seen.add(text)
                yield text


ENDINGS = (*_endings(), b"0.0.0.0", b".0.0.0")


def may_become(data: bytes) -> bool:
    """Whether bytes of a version 1 line, none of which ends one, are the beginning of one that is good: by trying to complete them."""
    if any(word.startswith(data) for word in (b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN ", b"PROXY UNKNOWN\r")):
        return True
    if data.startswith(b"PROXY UNKNOWN "):
        return parse(data + b"\r\n") is not None or parse(data + b"\n") is not None
    address = b"::" if data.startswith(b"PROXY TCP6 ") else b"0.0.0.0"
    rests = {2: (b" " + address + b" 0 0\r\n",), 3: (b" 0 0\r\n",), 4: (b" 0\r\n", b"0 0\r\n"), 5: (b"0\r\n", b"\r\n", b"\n")}
    fields = data.count(b" ")
    ends = ENDINGS if fields in (2, 3) else (b"",)
    return any(parse(data + end + rest) is not None for end in ends for rest in rests.get(fields, ()))
