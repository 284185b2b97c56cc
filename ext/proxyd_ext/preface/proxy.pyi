"""What Python sees of the PROXY protocol: entry points for tests and tools. An endpoint is (address, port)."""
from collections.abc import Iterable
from typing import TypedDict

class Header(TypedDict):
    size: int
    version: int
    transport: int                        # 1: a stream, 2: datagrams, 0: not told
    local: bool                           # the connection's own addresses hold
    source: tuple[str, int] | None        # None where `local`
    destination: tuple[str, int] | None
    alpn: bytes | None                    # None: not there
    authority: bytes | None
    unique_id: bytes | None

def parse(data: bytes, *, cuts: Iterable[int] = (), datagram: bool = False) -> Header | int:
    """Parse data[:cuts[0]], data[:cuts[1]], ..., data: the first result that is not 0.

    Returns the header, 0 when it is incomplete, or -FAULT_PROXY_HEADER.
    """

def write(
    version: int, source: tuple[str, int], destination: tuple[str, int], *, datagram: bool = False, crc: bool = False,
    unique_id: bytes | None = None,
) -> bytes:
    """A header for the servers; the address "unix" is none. ValueError where the unique id has more than 128 bytes."""
