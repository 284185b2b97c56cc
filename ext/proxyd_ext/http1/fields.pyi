"""What Python sees of finding values by name: entry points for tests and tools."""

def find_cookie(head: bytes, name: bytes) -> bytes | None:
    """The first cookie of that name in a request head; ValueError where that is refused."""

def find_parameters(query: bytes, name: bytes) -> list[bytes]:
    """The values of the parameters of that name, in order."""
