"""A question to a resolver, and what its answer says about it (RFC 1035 §4.1)."""
from __future__ import annotations

import secrets
import struct

from proxyd.health.check import CheckFailed
from proxyd.health.datagram import Judge
from proxyd.health.reason import excerpt

_HEADER = struct.Struct(">HHHHHH")      # id, flags, and how many questions, answers, authorities, additionals
_RESPONSE, _RECURSION = 0x8000, 0x0100
_RCODES = {1: "FORMERR", 2: "SERVFAIL", 4: "NOTIMP", 5: "REFUSED"}
_FINE = (0, 3)                          # NOERROR, NXDOMAIN: it knows, even that there is no such name
_A, _IN = 1, 1


def build_query(name: str, number: int) -> bytes:
    """For the address of `name` (ASCII, without its last dot; empty: the root), with recursion."""
    labels = [label.encode() for label in name.split(".") if label]
    question = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return _HEADER.pack(number, _RECURSION, 1, 0, 0, 0) + question + struct.pack(">HH", _A, _IN)


def question(name: str) -> tuple[bytes, Judge]:
    """A query with an id that nobody can guess, and what looks at its answers."""
    number = secrets.randbelow(0x10000)

    def judge(answer: bytes) -> str:
        if len(answer) < _HEADER.size:
            return f"got {excerpt(answer)}, which is no DNS message"
        found, flags, *_ = _HEADER.unpack_from(answer)
        if found != number or not flags & _RESPONSE:
            return "got what answers another question"
        code = flags & 15
        if code not in _FINE:
            raise CheckFailed(f"answers {_RCODES.get(code, f'RCODE {code}')} for {name or '.'}")
        return ""

    return build_query(name, number), judge
