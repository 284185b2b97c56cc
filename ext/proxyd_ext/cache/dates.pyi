"""What Python sees of HTTP dates: an entry point for tests and tools."""

def http_date_seconds(text: bytes, now_s: int = 0) -> int:
    """Seconds since 1970 of an HTTP-date, read at POSIX time now_s; -1 when it is none."""
