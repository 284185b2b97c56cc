"""What Python sees of the head parser: entry points for tests and tools."""
from collections.abc import Iterable
from typing import Any

def parse_request(
    data: bytes, *, cuts: Iterable[int] = (), head_size: int = 16384, uri_length: int = 8192, field_count: int = 100
) -> dict[str, Any] | int:
    """Parse a request head as an engine does that receives data[:cuts[0]], data[:cuts[1]], ..., data: the first result that is not 0.

    Returns 0 when it is incomplete, -FAULT_* when it is refused, else the Head:
    {size, flags, minor, body, content_length (None: not given), fields: [(name, value, FIELD_*, hop)],
    method, method_id, target_form, path, query, host}; texts are bytes, or None where the slice has no data.
    """

def parse_response(data: bytes, *, cuts: Iterable[int] = (), head_size: int = 16384, field_count: int = 100) -> dict[str, Any] | int:
    """The same for a response head: {..., status, reason, head} in place of the request's items; `head` is the bytes after the repairs."""

def parse_authority(authority: bytes) -> tuple[bytes, int] | int:
    """split_host: (name, port, 0 for none) or -FAULT_HOST_INVALID."""
