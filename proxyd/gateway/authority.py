"""What a kind of `auth` is: somebody who can say, of a credential that is not remembered, who it is and whether they may.

Engines ask through the consult door ("decide", with the bytes of `parse_asked`); `service.py` finds the authority, and sees to it that one
credential is asked about once at a time. An authority keeps no verdicts: those live natively, for the `ttl` that it names.
"""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from proxyd_ext.auth.verdict import Verdict

if TYPE_CHECKING:
    from proxyd.gateway.views import KeysView

DENIED_TTL = 10.0
"""Seconds for which it is remembered that a credential is bad, so that repeating it costs nothing; short, because it may become good."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request without a remembered verdict. Text is latin-1 as it came on the wire.

    target      the path in normal form, with `?query` as it came
    host        without port, lower case
    fields      of the request, in order, names as they came
    credential  what AuthFilter.source names: the bare token for "bearer", base64 text for "basic"; for "fields" those fields
    """

    method: str
    target: str
    scheme: str
    client: str
    request_id: str
    host: str
    fields: tuple[tuple[str, str], ...]
    credential: str = field(repr=False)

    def values(self, name: str) -> tuple[str, ...]:
        """Of every field of that name, in order; names are compared without regard to case (RFC 9110 section 5.1)."""
        wanted = name.lower()
        return tuple(value for given, value in self.fields if given.lower() == wanted)


@dataclass(frozen=True, slots=True)
class Decided:
    """`ttl`: seconds for which the verdict may be remembered; 0: not at all, it is for this request only."""

    verdict: Verdict
    ttl: float


class AuthUnavailable(Exception):
    """No verdict can be had: neither yes nor no. The client gets 503; nothing is remembered."""


class Authority(Protocol):
    async def decide(self, asked: Asked) -> Decided:
        """AuthUnavailable where nobody can say. May be cancelled at any await: the policy's timeout is the caller's."""

    async def close(self) -> None:
        """No more questions come. Let go of connections and threads."""


@runtime_checkable
class PromptAuthority(Authority, Protocol):
    """One that never waits. It is asked without a task, at a third of the cost: guesses are what it sees most."""

    def decide_now(self, asked: Asked) -> Decided: ...


@runtime_checkable
class KeyedAuthority(Authority, Protocol):
    """One that fetches its keys from somewhere."""

    def views(self) -> tuple[KeysView, ...]: ...


def parse_asked(request: bytes, credential: bytes) -> Asked:
    """The bytes of a "decide" event: `METHOD TARGET SCHEME CLIENT_IP REQUEST_ID`, the host, the user (empty), then `Name: value` lines.

    ValueError where they are none: an engine has written them, so that would be a bug, not a client.
    """
    first, host, _user, *lines = request.decode("latin-1").removesuffix("\n").split("\n")
    method, _, rest = first.partition(" ")
    target, scheme, client, request_id = rest.rsplit(" ", 3)
    fields = tuple((name, value.strip(" \t")) for name, _, value in (line.partition(":") for line in lines))
    return Asked(method, target, scheme, client, request_id, host, fields, credential.decode("latin-1"))
