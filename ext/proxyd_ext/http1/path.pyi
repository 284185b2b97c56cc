"""What Python sees of path normalisation: entry points for tests and tools."""

def normalize(path: bytes) -> bytes | int:
    """The normal form of a raw path, or -FAULT_PATH_INVALID."""

def is_normal(path: bytes) -> bool:
    """Is the path its own normal form?"""

def merged(path: bytes) -> bytes:
    """The path with runs of slashes as one, by which routes are matched."""
