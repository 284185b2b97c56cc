class Inflight:
    """How many requests of each key are in flight; outlives snapshots. Keys are hashes, not 0."""

    name: str
    def __init__(self, name: str, *, capacity: int = 65_536) -> None:
        """Room for so many keys; about 32 to 64 bytes each, whether they are there or not."""
    def take(self, hash: int, most: int) -> bool: ...
    def give(self, hash: int) -> None:
        """KeyError: nothing of that key is in flight."""
    def count(self, hash: int) -> int: ...
    def stats(self) -> dict[str, int]:
        """keys, in_flight, capacity, memory_bytes, table_full, passed, refused, refused_dry_run."""

def count(inflight: Inflight, engine: int, refused: bool, dry: bool) -> None:
    """Count a decision. For tests and tools."""
