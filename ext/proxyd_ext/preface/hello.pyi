"""What Python sees of the ClientHello: entry points for tests and tools."""
from collections.abc import Iterable
from typing import TypedDict

class Hello(TypedDict):
    name: bytes | None        # None: not there
    alpn: bytes | None        # the ProtocolNameList without its length
    version: int              # the highest offered
    ech: bool
    alert: int                # after a fault
    need: int                 # bytes before which nothing changes

def parse(data: bytes, *, cuts: Iterable[int] = ()) -> tuple[int, Hello]:
    """Parse data[:cuts[0]], data[:cuts[1]], ..., data: the first result that is not 0.

    Returns 1, 0 when it is incomplete, or -FAULT_HELLO, with what was read so far.
    """

def offers(alpn: bytes, protocol: bytes) -> bool:
    """Whether the list of protocols has this one."""

def alert(number: int) -> bytes:
    """A fatal alert as a record."""
