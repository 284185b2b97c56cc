"""What Python sees of head writing: entry points for tests and tools."""

def rewrite_request(
    data: bytes, *, path: bytes | None = None, query: bytes | None = None, client_ip: bytes = b"192.0.2.1", proto: bytes = b"http",
    request_id: bytes = b"0123456789abcdef", via: bytes = b"proxyd", host: bytes | None = None, extra: bytes = b"", trusted: bool = False,
    upgrade: bool = False, body: int | None = None, trace: bytes | None = None, trace_new: bool = False,
    content_length: int | None = None, cap: int = 65536
) -> bytes | int:
    """Parse a request head and write it as forwarded with these RequestEdits, into a block of exactly `cap` bytes.

    What is None (path with query, body, content_length) is as in the head.  Returns the new head, 0 or -FAULT_*.
    """

def rewrite_response(
    data: bytes, *, extra: bytes = b"", date: bytes = b"Thu, 01 Jan 1970 00:00:00 GMT", close: bool = False, keep_alive: bool = False,
    upgrade: bool = False, body: int | None = None, content_length: int | None = None, cap: int = 65536
) -> bytes | int:
    """The same for a response head and ResponseEdits; content_length -1 is none."""

def status_line(status: int) -> bytes:
    """The status line of an answer of our own, CRLF included."""

def http_date(seconds: int) -> bytes:
    """The IMF-fixdate of a POSIX time."""

def decimal(value: int) -> bytes:
    """Decimal digits of a number below 2**64."""
