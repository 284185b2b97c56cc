"""What a request's own texts are for the parts of a limit's key: as the engines read them, for a dry run."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxyd_ext.snapshot.spec import LimitKeyPart


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was routed, as far as policies look at it."""

    listener: str
    route: str
    method: str
    host: str
    path: str                      # in normal form
    query: str = ""
    headers: Sequence[tuple[str, str]] = ()
    client: str = ""               # IP literal; "": not known

    def field(self, name: str) -> str | None:
        """The last of that name."""
        return next((value for known, value in reversed(self.headers) if known.lower() == name.lower()), None)

    def cookie(self, name: str) -> str | None:
        """The first of that name, over all Cookie fields (RFC 6265 §4.2.1)."""
        pairs = [pair.strip().partition("=") for known, value in self.headers if known.lower() == "cookie" for pair in value.split(";")]
        return next((value for known, equals, value in pairs if known == name and equals), None)

    def parameter(self, name: str) -> str | None:
        """The first of that name, as it came."""
        pairs = [pair.partition("=") for pair in self.query.split("&") if pair]
        return next((value for known, _, value in pairs if known == name), None)


def key_texts(parts: Sequence[LimitKeyPart], request: Request) -> list[str] | None:
    """One for each part; None where one is not known before somebody is asked who it is, or without the client's address."""
    texts: list[str] = []
    for part in parts:
        text = _text(part, request)
        if text is None:
            return None
        texts.append(text)
    return texts


def _text(part: LimitKeyPart, request: Request) -> str | None:
    match part.kind:
        case "client.ip":
            return request.client or None
        case "header":
            return request.field(part.name) or ""
        case "cookie":
            return request.cookie(part.name) or ""
        case "query":
            return request.parameter(part.name) or ""
        case "user" | "claim":
            return None
        case "host":
            return request.host
        case "path":
            return request.path
        case "method":
            return request.method
        case "route":
            return request.route
        case _:
            return request.listener
