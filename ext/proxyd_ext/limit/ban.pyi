class Bans:
    """Who is banned until when; outlives snapshots."""

    name: str
    def __init__(self, name: str, *, after: int, within_us: int, for_us: int, capacity: int = 100_000) -> None:
        """Banned for `for_us` from the refusal number `after` within `within_us` on. Times are rounded up to milliseconds. ValueError:
        `after` is not 1 to 65,535, or a time is over 366 days."""
    def note(self, hash: int, now_us: int) -> bool:
        """The key was refused. Whether that made it banned; False while it is already."""
    def left_us(self, hash: int, now_us: int) -> int:
        """Until its ban ends, to the millisecond; 0: it is not banned."""
    def reset(self, hash: int | None = None) -> int:
        """Forget a key, banned or counted, or all; how many."""
    def stats(self, now_us: int) -> dict[str, int]:
        """banned (keys now), bans (so far), refused (requests), capacity, memory_bytes, evictions."""

def count_refused(bans: Bans, engine: int) -> None:
    """Count a request of a banned key as an engine does, for tests."""
