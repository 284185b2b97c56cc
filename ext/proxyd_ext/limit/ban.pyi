class Bans:
    """Who is banned until when; outlives snapshots."""

    name: str
    def __init__(self, name: str, *, after: int, within_us: int, for_us: int, capacity: int = 100_000) -> None:
        """Banned for `for_us` from the refusal number `after` within `within_us` on."""
    def note(self, hash: int, now_us: int) -> bool: ...
    def left_us(self, hash: int, now_us: int) -> int: ...
    def reset(self, hash: int | None = None) -> int: ...
    def stats(self, now_us: int) -> dict[str, int]:
        """banned (keys now), bans (so far), refused (requests), capacity, memory_bytes, evictions."""
