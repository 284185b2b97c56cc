"""What Python sees of the server names of a TLS listener: an entry point for tests and tools."""
from collections.abc import Iterable

def routes_of(rows: Iterable[tuple[bytes | None, int]], name: bytes) -> list[int]:
    """The routes that a name may take, in their order, in a table of the rows (pattern, route); None takes every hello.

    Rows stand in the order of their routes. Patterns are "a.example", "*.example", or "" for hellos without a name.
    """
