"""What Python sees of the chunked coding: entry points for tests and tools."""
from collections.abc import Iterable

def decode(pieces: Iterable[bytes], *, trailers_cap: int = 4096, give_early: bool = False) -> tuple[int, bytes, bytes, bytes, bytes]:
    """Decode a body that comes in these pieces, with room for `trailers_cap` bytes of trailer lines.

    The room is given when CHUNK_TRAILERS asks for it, or at the start if `give_early`.
    Returns (CHUNK_* or -FAULT_CHUNK_MALFORMED, data, trailer lines, the lines that may be sent on, bytes behind the body).
    """

def head(size: int) -> bytes:
    """The line that begins a chunk of `size` bytes (> 0)."""
