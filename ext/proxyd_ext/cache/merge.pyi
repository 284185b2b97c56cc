"""What Python sees of stored field lines: entry points for tests and tools. Heads are whole; ValueError where one is refused."""

def stored_lines(answer: bytes, now_s: int, *, strip_set_cookie: bool = False, cap: int | None = None) -> bytes | int:
    """storable_lines into a block of `cap` bytes (None: as many as it counts); -1 when they do not fit."""

def freshened_lines(stored: bytes, not_modified: bytes, now_s: int, *, cap: int | None = None) -> bytes | int:
    """merge_lines into a block of `cap` bytes (None: as many as it counts); -1 when they do not fit."""
