"""What operators changed at run time, on top of the config: states and weights of servers, servers added and removed.

Plain values and the rules for them; `proxyd.serving` brings them to the engines. A change names a server by its label ("10.0.1.12:8000")
or, for one that is a name in the config, by its spelling there ("app.internal:8000"): then it holds for all its addresses, also for those
that the name gets later. A change of one address wins over that of its name.

They live until somebody takes them back, or a reload drops the upstream or the server that they speak of; `proxyd.serverstate` keeps them
for the process after this one.
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from proxyd import codes
from proxyd.codes import Code
from proxyd.config.address import Address
from proxyd.config.include import compose_mapping
from proxyd.config.upstreams import Server
from proxyd.diagnostics import Diagnostic, Source
from proxyd.diagnostics.marked import Map, mark
from proxyd.diagnostics.validate import validate
from proxyd.snapshot.members import Member, Members, members_of
from proxyd.state import OverrideView, OverrideWord

if TYPE_CHECKING:
    from proxyd.config.model import Config

State = Literal["ready", "drain", "maint"]
STATES: tuple[State, ...] = ("ready", "drain", "maint")
WEIGHT_MAX = 65_535

_Aspect = Literal["state", "weight", "membership"]
ASPECTS: dict[OverrideWord, _Aspect] = {
    "drain": "state", "maint": "state", "weight": "weight", "added": "membership", "removed": "membership",
}
_Key = tuple[str, str, _Aspect]      # upstream, server as the change names it


class OverrideError(Exception):
    """A change that is refused; nothing was changed. The message is a sentence for the operator."""

    def __init__(self, code: Code, message: str, diagnostics: Iterable[Diagnostic] = ()) -> None:
        super().__init__(message)
        self.code = code
        self.diagnostics = tuple(diagnostics)


class Target(Protocol):
    """What a state acts on; `proxyd_ext.balance.server.Server` is one."""

    def set_down(self, reason: Literal["health", "maint", "drain", "pending"], on: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Override:
    """One change that is in force."""

    upstream: str
    server: str                    # a label, or the config's spelling of a name
    source: str                    # the server of the config that it speaks of; of an added server its own address
    word: OverrideWord
    by: str
    at: float                      # wall time
    weight: int = 0                # of "weight": the new one
    added: Server | None = None    # of "added"

    @property
    def text(self) -> str:
        match self.word:
            case "drain":
                return "drained"
            case "maint":
                return "in maintenance"
            case "weight":
                return f"weight {self.weight}"
            case "removed":
                return "removed"
            case "added":
                return ", ".join(["added", *(_traits(self.added) if self.added is not None else ())])

    def view(self) -> OverrideView:
        return OverrideView(self.upstream, self.server, self.word, self.text, self.by, self.at)


@dataclass(slots=True)
class Overrides:
    _held: dict[_Key, Override] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[Override]) -> Overrides:
        """What `entries` gave; a later one wins over an earlier one of the same."""
        found = cls()
        for entry in entries:
            found._put(entry)
        return found

    # ------------------------------------------------------------------ what holds
    @property
    def entries(self) -> tuple[Override, ...]:
        """In the order in which they were made."""
        return tuple(self._held.values())

    def views(self, upstream: str | None = None) -> tuple[OverrideView, ...]:
        """In the order in which they were made; of one upstream, or of all."""
        return tuple(entry.view() for entry in self._held.values() if upstream in (None, entry.upstream))

    def config(self, config: Config) -> Config:
        """The config with the added servers behind its own."""
        upstreams = dict(config.upstreams)
        for entry in self._held.values():
            if entry.added is not None and entry.upstream in upstreams:
                upstream = upstreams[entry.upstream]
                upstreams[entry.upstream] = upstream.model_copy(update={"servers": (*upstream.servers, entry.added)})
        return config.model_copy(update={"upstreams": upstreams})

    def members(self, config: Config, addresses: Mapping[str, tuple[str, ...]]) -> Members:
        """The members that serve: added servers among them, removed ones not, each with its weight."""
        return {name: self.apply(name, members) for name, members in members_of(self.config(config), addresses).items()}

    def apply(self, upstream: str, members: Iterable[Member]) -> tuple[Member, ...]:
        return tuple(
            replace(member, weight=entry.weight) if (entry := self._of(upstream, member, "weight")) is not None else member
            for member in members
            if (found := self._of(upstream, member, "membership")) is None or found.word != "removed"
        )

    def state(self, upstream: str, member: Member) -> State:
        entry = self._of(upstream, member, "state")
        return "ready" if entry is None else "drain" if entry.word == "drain" else "maint"

    def mark(self, upstream: str, member: Member, target: Target) -> None:
        """Tell a server its state. The reason that holds goes up before the other falls, so that no pick slips in between."""
        state = self.state(upstream, member)
        for reason in sorted(("drain", "maint"), key=lambda reason: reason != state):
            target.set_down("drain" if reason == "drain" else "maint", reason == state)

    def _of(self, upstream: str, member: Member, aspect: _Aspect) -> Override | None:
        return self._held.get((upstream, member.label, aspect)) or self._held.get((upstream, member.source, aspect))

    # ------------------------------------------------------------------ changes
    def copy(self) -> Overrides:
        """To try a change on: the original stays as it is."""
        return Overrides(dict(self._held))

    def set_state(self, upstream: str, server: str, source: str, state: State, by: str, at: float) -> bool:
        """False: it was so before. `ready` takes back what the server's addresses were told one by one, too."""
        before = self._held.get((upstream, server, "state"))
        if state == "ready":
            return self._forget(upstream, server, source, {"state"})
        if before is not None and before.word == state:
            return False
        self._put(Override(upstream, server, source, state, by, at))
        return True

    def set_weight(self, upstream: str, server: str, source: str, weight: int, of_config: int, by: str, at: float) -> bool:
        """False: it was so before. The config's own weight (`of_config`) ends the override."""
        key: _Key = (upstream, server, "weight")
        before = self._held.get(key)
        if weight == of_config:
            return self._held.pop(key, None) is not None
        if before is not None and before.weight == weight:
            return False
        self._put(Override(upstream, server, source, "weight", by, at, weight=weight))
        return True

    def add(self, upstream: str, server: Server, by: str, at: float) -> None:
        """Add a server, or take back that one of the config was removed."""
        address = str(server.address)
        key: _Key = (upstream, address, "membership")
        before = self._held.get(key)
        if before is not None and before.word == "removed":
            del self._held[key]
            return
        self._put(Override(upstream, address, address, "added", by, at, added=server))

    def remove(self, upstream: str, server: str, source: str, by: str, at: float) -> None:
        """Remove a server, and with it what else was said of it."""
        was_added = (before := self._held.get((upstream, server, "membership"))) is not None and before.word == "added"
        self._forget(upstream, server, source, {"state", "weight", "membership"})
        if not was_added:
            self._put(Override(upstream, server, source, "removed", by, at))

    def _forget(self, upstream: str, server: str, source: str, aspects: set[_Aspect]) -> bool:
        """Drop what was said of the server in these respects; of a name, also what was said of its addresses. False: nothing was."""
        stale = [
            key for key, entry in self._held.items()
            if key[0] == upstream and key[2] in aspects and (key[1] == server or server == source == entry.source)
        ]
        for key in stale:
            del self._held[key]
        return bool(stale)

    def _put(self, entry: Override) -> None:
        key: _Key = (entry.upstream, entry.server, ASPECTS[entry.word])
        self._held.pop(key, None)
        self._held[key] = entry

    def keep_only(self, config: Config) -> tuple[OverrideView, ...]:
        """A new config serves: drop what speaks of an upstream or a server that it does not have. What was dropped."""
        sources = {name: {str(server.address) for server in upstream.servers} for name, upstream in config.upstreams.items()}
        added = {key[:2] for key, entry in self._held.items() if entry.added is not None}
        dropped: list[OverrideView] = []
        for key, entry in list(self._held.items()):
            of_config = entry.source in sources.get(entry.upstream, ())
            # An added server that the config has by now is the config's; what was said of its state and weight still holds.
            stays = not of_config if entry.added is not None else of_config or (entry.upstream, entry.source) in added
            if not stays or entry.upstream not in sources:
                dropped.append(entry.view())
                del self._held[key]
        return tuple(dropped)


# ---------------------------------------------------------------------- what an operator says
def parse_server(value: Mapping[str, Any]) -> Server:
    """A server as `upstreams.NAME.servers[]` of a config would have it. OverrideError says what is wrong, in the words of `check`."""
    found: list[Diagnostic] = []
    # JSON is YAML: so the same reader tells every mistake in the same words.
    root = compose_mapping(Source("<server>", json.dumps(dict(value))), found)
    data = mark(root, found) if root is not None else None
    server = None
    if isinstance(data, Map):
        result = validate(Server, data)
        server = result.value
        found += result.found
    if server is None or found:
        raise OverrideError(codes.CHANGE_INVALID, _sentence(found), found)
    return server


def _sentence(found: list[Diagnostic]) -> str:
    return "; ".join(f"{entry.message}{f' ({entry.help})' if entry.help else ''}" for entry in found) or "this is not a server"


def parse_weight(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= WEIGHT_MAX:
        raise OverrideError(codes.CHANGE_INVALID, f"the weight is `{value}`; it may be 1 to {WEIGHT_MAX}, and `drain` stops the requests")
    return value


def parse_state(value: object) -> State:
    for state in STATES:
        if value == state:
            return state
    raise OverrideError(codes.CHANGE_INVALID, f"the state is `{value}`; it may be {', '.join(STATES)}")


def spelling(server: str) -> str:
    """An address in the form in which labels have it; other text as it is."""
    try:
        return str(Address.parse(server))
    except ValueError:
        return server


def _traits(server: Server) -> Iterable[str]:
    """What was said of an added server beside its address."""
    for name in sorted(server.model_fields_set - {"address"}):
        value = getattr(server, name)
        if isinstance(value, bool):
            if value:
                yield name
        else:
            yield f"{name} {value}"
