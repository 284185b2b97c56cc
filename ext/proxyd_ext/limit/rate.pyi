from collections.abc import Callable
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
        leased: bool = False,               # the burst is shared by several proxies: see `take_wants`; nobody is delayed then
    ) -> None:
        """ValueError: a leaky bucket with a burst above 134,000 that takes longer than days to drain, or one above 1,073,000; a token
        bucket that is faster than a thousand requests a microsecond, or takes years to drain."""
    def try_take(self, hash: int, now_us: int) -> tuple[str, dict[str, int]]:
        """("passed" | "delayed" | "refused", {"delay_us", "retry_us", "reset_us", "remaining"}): what the data plane would do, done."""
    def peek(self, hash: int, now_us: int) -> dict[str, int] | None:
        """{"remaining", "reset_us", "retry_us"} of a key, nothing taken; None: it has no entry, or one that has drained."""
    def reset(self, hash: int | None = None) -> int:
        """Forget a key, or all; how many."""
    def top(self, most: int = 100) -> list[tuple[str, int, int]]:
        """The busiest keys of the last while: (text, requests, refused), estimated from samples, the busiest first. All counts are halved
        every four million requests."""
    def stats(self, now_us: int | None = None) -> dict[str, int]:
        """keys (that are not drained, counted by a walk, which removes what has been drained for a minute), capacity, memory_bytes,
        evictions, passed, delayed, refused, delayed_dry_run, refused_dry_run, lease_wants_lost, on_local_share (1 or 0)."""
    # leases (algorithm RATE_LEASED beside the own one, which is the local share)
    def fileno(self) -> int:
        """Readable when `take_wants` has something; -1 unless leased."""
    def take_wants(self, now_us: int | None = None) -> list[tuple[int, int, int]]:
        """(hash, tokens used on credit that no grant has paid yet, tokens asked for beyond them). Each wants a grant; one that has none
        within 10 s is told again when its key is next used."""
    def grant(self, hash: int, tokens: int, retry_us: int, now_us: int, valid_us: int) -> None:
        """What the shared store gave for a want: tokens beyond those used on credit (none if negative), valid so long. Without any, and
        nothing in hand, the key is refused for `retry_us`: until the store's debt is paid and it has one more. 0: it has."""
    def set_lease(self, tokens: int) -> None:
        """How many tokens a lease has, from 1 (which it is at first). A key may have half of them in hand, and use the other half, the
        larger, on credit: at worst proxies * tokens requests are admitted beyond the limit (limit/lease.pxd)."""
    def set_local_share(self, on: bool, requests: int = 0, per_us: int = 1, burst: int = 0) -> None:
        """Whether the shared store is out of reach: then this proxy's own share counts, by the algorithm of the limit. Either way all
        keys begin anew when that changes."""

def now_us() -> int:
    """The engines' monotonic clock."""

# For tests and tools.

class Taken:
    """What one request took."""

    def give_back(self, now_us: int) -> None: ...

def take(limit: RateLimit, hash: int, now_us: int) -> tuple[str, dict[str, int], Taken]:
    """As try_take, and what was taken, unless it was refused."""

def late_swap(limit: RateLimit, hash: int, now_us: int, meanwhile: Callable[[], object]) -> bool:
    """A request of a resident key on a thread that sleeps between reading the word and swapping it. Whether the swap succeeds.
    ValueError: the key is not there, or refused."""

def hammer(limit: RateLimit, first: int, keys: int, count: int, now_us: int, back_every: int = 0) -> int:
    """So many requests without the GIL, in turn of the keys mix64(first) and following; every so many-th that passes is given back. How
    many passed for good."""

def count_decision(limit: RateLimit, engine: int, decision: str) -> None:
    """Count a decision as an engine does."""

def note(limit: RateLimit, hash: int, text: bytes, refused: bool) -> None:
    """Note one sample of a key, as an engine does for one request of RATE_SAMPLE (32)."""
