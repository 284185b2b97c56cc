from collections.abc import Mapping

class Consumer:
    """Who has an API key: identity and usage, which outlive snapshots and verdicts. The registry of the control plane keeps them."""

    name: str
    def __init__(self, name: str) -> None: ...
    def usage(self) -> tuple[int, int]:
        """(number of the period, requests counted in it); (0, 0) before the first."""
    def set_usage(self, period: int, used: int) -> None:
        """What is known from disk."""
    @property
    def hash(self) -> int:
        """Its key in the tables of limits."""

class Verdict:
    """What becomes of a credential. Immutable; any number of requests may use it, on any engine.

    lines: whole field lines for the request that goes to the server (identity headers), each with CRLF.
    attributes: claims that keys of limits name, and what `python` filters see.
    plan: index into PlanFilter.plans, -1: none. status, head, body: the answer of a refusal; head holds whole field lines with CRLF.
    """

    def __init__(
        self, *, allow: bool, user: str = "", lines: bytes = b"", attributes: Mapping[str, str] | None = None, plan: int = -1,
        consumer: Consumer | None = None, status: int = 401, head: bytes = b"", body: bytes = b"",
    ) -> None:
        """ValueError: lines above 8 KiB, more than 16 attributes, a line break in a value."""
    @property
    def allow(self) -> bool: ...
    @property
    def user(self) -> str: ...
    @property
    def lines(self) -> bytes: ...
    @property
    def attributes(self) -> dict[str, str]: ...
    @property
    def plan(self) -> int: ...
    @property
    def status(self) -> int: ...
    @property
    def head(self) -> bytes: ...
    @property
    def body(self) -> bytes: ...

class Verdicts:
    """The verdicts of one auth policy, under 128-bit digests of credentials (SipHash with a key of this process). `id` is unique and
    grows: the number by which a ("decide", ...) event names it."""

    id: int
    name: str
    def __init__(self, name: str, *, capacity: int = 100_000) -> None: ...
    def put(self, digest: bytes, verdict: Verdict, ttl_ms: int) -> None:
        """Remember; from the moment it returns requests with the credential do not ask any more."""
    def forget(self, digest: bytes) -> bool: ...
    def forget_user(self, user: str) -> int:
        """Every verdict that names the user; how many. A walk."""
    def clear(self) -> int: ...
    def find(self, digest: bytes) -> Verdict | None:
        """What engines would be told now."""
    def stats(self) -> dict[str, int]:
        """entries, capacity, evictions, allowed, denied, missing, asked, failed. allowed and denied: by remembered verdicts and fresh ones
        together; asked: of them, how many had to ask; failed: no verdict came."""
    def count(self, result: str) -> None: ...
