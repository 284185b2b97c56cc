"""What Python sees of templates: entry points for tests and tools."""

from collections.abc import Sequence

PART_KINDS: dict[str, int]  # word -> PART_*

def rewritten(
    parts: Sequence[tuple[str, bytes]], strip: bytes, deep: bool, path: bytes, host: bytes = ..., query: bytes | None = ..., cap: int = ...
) -> bytes | int:
    """The path that a server is sent, or -FAULT_*."""
