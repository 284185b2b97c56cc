"""What a check of a server that wants a PROXY header says first: the header of a connection that proxyd makes for itself, with no client
behind it. HAProxy does the same for checks that have no port of their own."""
from __future__ import annotations

from typing import Literal

_V1 = b"PROXY UNKNOWN\r\n"
# Signature, version 2 with the command LOCAL, family and transport unspecified, nothing behind it.
_V2 = b"\r\n\r\n\0\r\nQUIT\n" + b"\x20\0" + b"\0\0"


def own_header(version: Literal["v1", "v2"], *, datagram: bool) -> bytes:
    """The PROXY header without a client (§2.1: UNKNOWN, §2.2: LOCAL); b"" where there is none: version 1 is not for datagrams."""
    if version == "v2":
        return _V2
    return b"" if datagram else _V1
