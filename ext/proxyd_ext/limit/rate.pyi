from typing import Literal

class RateLimit:
    """One limit and its keys; outlives snapshots. Times in microseconds."""

    name: str
    def __init__(
        self,
        name: str,
        *,
        requests: int,                      # so many in `per_us` microseconds
        per_us: int,
        burst: int,                         # requests beyond the rate that pass (or are delayed), nginx's meaning: burst + 1 pass at once
        algorithm: Literal["token_bucket", "leaky_bucket"] = "token_bucket",
        delay: int = -1,                    # -1: what fits the burst passes at once (nodelay); N: the first N do, the others are held
        capacity: int = 1_000_000,          # keys; 16 bytes each and at most twice as much in all
        leased: bool = False,               # the burst is shared by several proxies: see `take_wants`
    ) -> None: ...
    def try_take(self, hash: int, now_us: int) -> tuple[str, dict[str, int]]:
        """("passed" | "delayed" | "refused", {"delay_us", "retry_us", "reset_us", "remaining"}): what the data plane would do, done."""
    def peek(self, hash: int, now_us: int) -> dict[str, int] | None:
        """{"remaining", "reset_us", "retry_us"} of a key, nothing taken; None: it has no entry."""
    def reset(self, hash: int | None = None) -> int:
        """Forget a key, or all; how many."""
    def top(self, most: int = 100) -> list[tuple[str, int, int]]:
        """The busiest keys: (text, requests, refused), estimated from samples, the busiest first."""
    def stats(self) -> dict[str, int]:
        """keys (counted by a walk), capacity, memory_bytes, evictions, passed, delayed, refused, delayed_dry_run, refused_dry_run,
        lease_wants_lost, on_local_share."""
    # leases (algorithm RATE_LEASED beside the own one, which is the local share)
    def fileno(self) -> int:
        """Readable when `take_wants` has something; -1 unless leased."""
    def take_wants(self) -> list[tuple[int, int, int]]:
        """(hash, tokens used on credit since the last grant, tokens asked for beyond them)."""
    def grant(self, hash: int, tokens: int, retry_us: int, now_us: int, valid_us: int) -> None:
        """What the shared store gave for a want: tokens beyond those used on credit (negative: debt), valid so long; with none left, retry
        after so long."""
    def set_lease(self, tokens: int) -> None:
        """How many tokens a lease has, and how many a new key may use on credit."""
    def set_local_share(self, on: bool, requests: int = 0, per_us: int = 1, burst: int = 0) -> None:
        """Whether the shared store is out of reach: then this proxy's own share counts, by the algorithm of the limit."""

def now_us() -> int:
    """The engines' monotonic clock."""
