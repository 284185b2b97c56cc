"""Passive ejections in plain words: the engines say which server they took out; the reason is what its counters gained since."""
from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

WORDS: dict[str, str] = {
    "connect_refused": "connection refused",
    "connect_timeout": "connecting timed out",
    "connect_unreachable": "address unreachable",
    "connect_failed": "connecting failed",
    "upstream_closed": "connection closed without an answer",
    "upstream_reset": "connection reset",
    "first_byte_timeout": "no answer in time",
    "read_timeout": "answer stalled",
    "write_timeout": "request not taken",
    "upstream_truncated": "answer cut short",
    "upstream_head_malformed": "not an HTTP answer",
}
"""The native fault words (core/fault.pyx) that eject, as people say them; others are shown with spaces for their underscores."""

log = logging.getLogger("proxyd.health")


class Ejected(Protocol):
    """What is asked of a server; `proxyd_ext.balance.server.Server` answers."""

    def state(self) -> Mapping[str, Any]: ...

    def stats(self) -> Mapping[str, Any]: ...


@dataclass(slots=True)
class Ejections:
    """Keeps, for every server, the failures that were known when it was last looked at."""

    _known: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    _reasons: dict[tuple[str, str], str] = field(default_factory=dict)

    def on_ejected(self, upstream: str, label: str, server: Ejected) -> None:
        state, failures = server.state(), _failures(server.stats())
        gained = failures - self._known.get((upstream, label), Counter())
        self._known[(upstream, label)] = failures
        word, count = gained.most_common(1)[0] if gained else ("failures", 0)
        # The counter that grew most may hold older ones as well; the row that ejected is the smaller of both.
        row = state["consecutive_failures"]
        times = min(count, row) if count and row else count or row
        reason = f"{word} {times} times" if times > 1 else word
        self._reasons[(upstream, label)] = reason
        log.warning("%s: %s left: %s; back in %s", upstream, label, reason, _seconds(state["ejected_for_ms"]))

    def reason(self, upstream: str, label: str) -> str:
        """Why it was last ejected: "connection refused 5 times"; "" when it never was."""
        return self._reasons.get((upstream, label), "")

    def forget_others(self, keys: set[tuple[str, str]]) -> None:
        """Keep only these servers."""
        for mapping in (self._known, self._reasons):
            for key in mapping.keys() - keys:
                del mapping[key]


def _failures(stats: Mapping[str, Any]) -> Counter[str]:
    found = Counter({WORDS.get(word, word.replace("_", " ")): count for word, count in stats["errors"].items()})
    for code, count in stats["requests"].items():
        if code >= 500:
            found[f"status {code}"] += count
    return found


def _seconds(ms: int) -> str:
    return f"{round(ms / 1000)} s" if ms >= 1000 else f"{ms} ms"
