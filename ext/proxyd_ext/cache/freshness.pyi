"""What Python sees of storing and freshness: entry points for tests and tools. Heads are whole; ValueError where one is refused."""

def judge(
    request: bytes, answer: bytes, *, request_s: int, response_s: int, obey: bool = True, **said: int
) -> dict[str, int | bool] | str:
    """judge_answer: the Freshness as a dict, or the word of the reason not to store. `said`: FreshnessRules, absent ones unsaid."""

def serve(
    request: bytes,
    age_s: int,
    *,
    lifetime_s: int,
    stale_while_revalidate_s: int = 0,
    stale_if_error_s: int = 0,
    no_cache: bool = False,
    must_revalidate: bool = False,
) -> tuple[str, bool]:
    """may_serve of an answer with this Freshness: ("fresh", "stale", "revalidate behind" or "not", may it be used on error)."""

def store_words() -> list[str]:
    """The word of every STORE_*, in order."""
