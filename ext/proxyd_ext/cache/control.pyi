"""What Python sees of cache directives: entry points for tests and tools. Heads are whole; ValueError where one is refused."""

def read_cache_control(head: bytes, *, request: bool = False) -> dict[str, int | bool] | None:
    """What Cache-Control (of a request: or Pragma) says: {directive: seconds, or True}; None when there is no such field."""

def read_targeted(head: bytes) -> dict[str, int | bool] | None:
    """What CDN-Cache-Control says, in the same form; None when it is absent, empty or invalid."""

def read_age(head: bytes) -> int:
    """The Age of an answer in seconds; -1: none that counts."""
