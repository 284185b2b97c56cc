"""What Python sees of byte ranges: entry points for tests and tools. Heads are whole; ValueError where one is refused."""
from collections.abc import Sequence

def read_ranges(request: bytes, size: int) -> list[tuple[int, int]] | int:
    """parse_ranges: (first, last) of each, or RANGES_WHOLE (0), RANGES_UNSATISFIABLE (-1)."""

def content_range(first: int, last: int, size: int) -> bytes:
    """write_content_range."""

def unsatisfied_range(size: int) -> bytes:
    """write_unsatisfied_range."""

def part_head(boundary: bytes, content_type: bytes, first: int, last: int, size: int, *, leads: bool, cap: int = 1024) -> bytes | int:
    """write_part_head into a block of `cap` bytes, or -1; `leads`: it is the first part."""

def multipart_body(boundary: bytes, content_type: bytes, parts: Sequence[tuple[int, int]], body: bytes) -> tuple[bytes, int]:
    """The multipart/byteranges body with these parts of `body` (RANGES_MAX at most), and what multipart_size says of it."""
