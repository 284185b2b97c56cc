"""Which records are wanted: `status=5xx&route=api&slower_than=1s`. The admin API and the command line share these words."""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
Test = Callable[[Record], bool]

_STATUS = re.compile(r"[1-5](xx|[0-9]{2})")


class FilterError(ValueError):
    """A filter that cannot be: the message says which, and how it is written."""


@dataclass(frozen=True, slots=True)
class Filter:
    """All of its tests must pass."""

    tests: tuple[Test, ...] = ()

    def __call__(self, record: Record) -> bool:
        return all(test(record) for test in self.tests)


def parse_filter(words: Mapping[str, str]) -> Filter:
    """From names of WORDS to texts; an empty text asks for nothing. Raises FilterError."""
    for unknown in words.keys() - WORDS.keys():
        raise FilterError(f"`{unknown}` is no filter; there is {', '.join(WORDS)}")
    return Filter(tuple(_BY_WORD[name](text) for name, text in words.items() if text))


# ---------------------------------------------------------------------- one each
def _of_status(text: str) -> Test:
    """`503`, `5xx`, `4xx,503`."""
    wanted = {part.strip().lower() for part in text.split(",")}
    for part in wanted:
        if not _STATUS.fullmatch(part):
            raise FilterError(f"`{part}` is not a status; write 503, 5xx or 4xx,503")
    return lambda record: not wanted.isdisjoint(_status_words(record.get("status", 0)))


def _status_words(status: int) -> tuple[str, str]:
    return str(status), f"{status // 100}xx"


def _equals(member: str) -> Callable[[str], Test]:
    return lambda text: lambda record: record.get(member) == text


def _of_host(text: str) -> Test:
    wanted = text.lower()
    return lambda record: str(record.get("host", "")).lower() == wanted


def _of_method(text: str) -> Test:
    wanted = text.upper()
    return lambda record: record.get("method") == wanted


def _of_path(text: str) -> Test:
    prefix = text.removesuffix("*")
    return lambda record: str(record.get("path", "")).startswith(prefix)


def _of_slowness(text: str) -> Test:
    from proxyd.config.units import Duration  # not above: it brings pydantic, and the command line wants WORDS alone

    try:
        seconds = Duration.parse(text) / 1000
    except ValueError as error:
        raise FilterError(f"slower_than: {error}") from None
    return lambda record: record.get("t_total", 0.0) > seconds


def _of_error(text: str) -> Test:
    """An error type of RFC 9209, or `any`."""
    return lambda record: "error" in record and text in ("any", record["error"])


def _of_kind(text: str) -> Test:
    """`http`, `flow` (any), `tcp`, `tls`, `udp`."""
    if text not in {"http", "flow", "tcp", "tls", "udp"}:
        raise FilterError(f"`{text}` is no kind; it may be http, flow, tcp, tls or udp")
    return lambda record: text in (record.get("kind", "http"), "flow" if "kind" in record else "http")


def _of_text(text: str) -> Test:
    """Whether any member has the text in it."""
    wanted = text.lower()
    return lambda record: any(wanted in str(value).lower() for value in record.values())


_BY_WORD: dict[str, Callable[[str], Test]] = {
    "status": _of_status, "route": _equals("route"), "listener": _equals("listener"), "upstream": _equals("upstream"),
    "server": _equals("server"), "host": _of_host, "path": _of_path, "client": _equals("client.address"), "method": _of_method,
    "slower_than": _of_slowness, "error": _of_error, "kind": _of_kind, "grep": _of_text,
}

WORDS: Mapping[str, str] = {
    "status": "503, 5xx, or several: 4xx,503",
    "route": "name of a route",
    "listener": "name of a listener",
    "upstream": "name of an upstream",
    "server": "address of a server",
    "host": "the host that was asked for",
    "path": "what the path begins with",
    "client": "address of the client",
    "method": "GET, POST and so on",
    "slower_than": "a duration: 500ms",
    "error": "an error type (RFC 9209): connection_refused; any: all failures",
    "kind": "http, flow, tcp, tls, udp",
    "grep": "a text that any member has in it",
}
"""What can be asked for, and how it is written."""


def words_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Of the options of a command or a query, those that are filters and were given."""
    return {name: str(values[name]) for name in WORDS if values.get(name)}
