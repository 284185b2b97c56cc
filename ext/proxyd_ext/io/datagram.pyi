"""What Python sees of datagram sockets: entry points for tests and tools. An endpoint is (address, port)."""

from collections.abc import Sequence
from typing import TypedDict

class Given(TypedDict):
    done: int      # pieces dealt with; fewer than given: nobody is there
    error: int     # then the errno
    packets: int
    bytes: int
    refused: int   # datagrams that the kernel did not take
    join: bool     # whether the kernel can send joined pieces, as far as is known now

class Queued(TypedDict):
    packets: int
    bytes: int
    refused: int
    full: int      # how often the queue had to be sent early

def tell_local(fd: int, family: int) -> bool: ...
def join(fd: int) -> bool: ...
def receive(fd: int, most: int, *, told: bool = False) -> list[tuple[bytes, int, tuple[str, int], str | None]]:
    """Of each: its bytes, the size of each datagram if it is several, who sent it, and to which of our addresses if that was told."""

def send(fd: int, pieces: Sequence[tuple[bytes, int]], *, head: bytes = b"", join: bool = True) -> Given:
    """Send on a connected socket; a piece is (bytes, size of each datagram in it, or 0)."""

def queue(fd: int, pieces: Sequence[bytes], to: tuple[str, int], local: str | None = None) -> Queued:
    """Send by the queue, as answers are; `local`: the address (IPv4) that they leave from."""
