from types import EllipsisType
from typing import Literal

from proxyd_ext.auth.verdict import Verdict
from proxyd_ext.cache.store import CachedObject
from proxyd_ext.log.writer import AccessLog
from proxyd_ext.snapshot.compile import Snapshot

Event = (
    tuple[Literal["ack"], int]                          # generation taken
    | tuple[Literal["retired"], int]                    # generation no longer used by this engine
    | tuple[Literal["ejected"], str, str]               # label, upstream
    | tuple[Literal["consult"], int, int, str, bytes]   # slot, generation, kind, text: answer with Engine.answer
    | tuple[Literal["lookup"], int, int, bytes, bytes | None]    # slot, generation, key, variant: load what there is, Engine.proceed
    | tuple[Literal["decide"], int, int, int, bytes, bytes, bytes]   # see `decide`
    | tuple[Literal["filter"], int, int, int, Literal["request", "response"], bytes]   # see `change`
    | tuple[Literal["stored"], CachedObject]
    | tuple[Literal["invalidated"], str]                # a URL that a method made invalid, where answers are shared with other nodes
    | tuple[Literal["drained"]]
)

class Engine:
    index: int
    inline: bool
    def __init__(
        self, index: int, engines: int, *, inline: bool = False, log: AccessLog | None = None, fake_clock: bool = False
    ) -> None: ...
    def run(self) -> None: ...
    def fileno(self) -> int: ...
    def poll(self) -> None: ...
    def next_deadline_ms(self) -> int: ...
    def advance(self, ms: int) -> None: ...
    def publish(self, snapshot: Snapshot, log: AccessLog | EllipsisType | None = ...) -> None: ...
    def review(self) -> None:
        """States of servers have changed: look at all flows, and end those that must end (`on_down: close`), or after `drain_timeout`."""
    def drain(self) -> None: ...
    def hand_over(self) -> None:
        """Drain, while another process serves the same listening sockets: what we do not take is taken there."""
    def close(self) -> None: ...
    def answer(self, slot: int, generation: int, status: int, body: bytes, content_type: str) -> None: ...
    def proceed(self, slot: int, generation: int) -> None: ...
    def decide(self, slot: int, generation: int, verdict: Verdict) -> None:
        """Answer a "decide" (slot, generation, Verdicts.id, request, credential, digest), as `fail` may. request: lines of text,

            METHOD SP TARGET SP SCHEME SP CLIENT-IP SP REQUEST-ID, then HOST, then USER, then the fields as "Name:value"

        The exchange uses the verdict whether or not it was `put` among the Verdicts, too."""
    def change(
        self, slot: int, generation: int, *, lines: bytes = b"", drop: bytes = b"", path: str = "", query: str | None = None,
        status: int = 0,
    ) -> None:
        """Answer a "filter" (slot, generation, Hooks.id, hook, request), as `reply` and `fail` may. request: as of "decide"; of the hook
        "response" there follow an empty line, the status, and the fields of the server's answer. It passes, with these changes. lines:
        whole field lines, each with CRLF; drop: names in lower case, each with "\\n"; path and query (requests only): what the server is
        asked; status (responses only). ValueError where that cannot be."""
    def reply(self, slot: int, generation: int, status: int, head: bytes, body: bytes) -> None:
        """Answer a "filter": this is the answer to the client. head: whole field lines, Content-Type among them, no framing."""
    def fail(self, slot: int, generation: int) -> None:
        """A "decide" or "filter" has no answer: 503, or what the filter's `fail_open` says."""
    def events_fileno(self) -> int: ...
    def take_events(self) -> list[Event]: ...
    @property
    def heartbeat(self) -> int: ...
    def stats(self) -> dict[str, int | float]: ...
