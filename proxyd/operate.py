"""What operators ask of servers at run time: drain, maintenance, ready, weights, servers that come and go.

Each order is tried on a copy of the overrides; what is refused, or fails on its way to the engines, leaves everything as it was.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from proxyd import codes
from proxyd.clock import Clock
from proxyd.overrides import OverrideError, Overrides, State, parse_server, parse_state, parse_weight, spelling
from proxyd.serving import Serving
from proxyd.snapshot.members import Member
from proxyd.state import ServerChange

if TYPE_CHECKING:
    from proxyd_ext.balance.server import Server

SHOWN_MAX = 5     # servers that an error names


@dataclass(frozen=True, slots=True)
class _Subject:
    """The server that an order speaks of: one address, or all those of a name."""

    upstream: str
    server: str                     # as overrides key it
    source: str
    members: tuple[Member, ...]

    def __str__(self) -> str:
        return f"{self.upstream}/{self.server}"


@dataclass(frozen=True, slots=True)
class Operator:
    """Carries out the orders of `by`. One caller at a time, and none while a config is being taken."""

    serving: Serving
    clock: Clock
    by: str

    async def change(self, upstream: str, server: str, orders: Mapping[str, Any], *, force: bool = False) -> ServerChange:
        """`orders`: `state` ready, drain or maint, `weight` 1..65535, or both. OverrideError when it is refused."""
        for unknown in sorted(orders.keys() - {"state", "weight"}):
            raise OverrideError(codes.CHANGE_INVALID, f"`{unknown}` cannot be changed; `state` and `weight` can")
        if not orders:
            raise OverrideError(codes.CHANGE_INVALID, "nothing to change: give `state` or `weight`")
        state = parse_state(orders["state"]) if "state" in orders else None
        weight = parse_weight(orders["weight"]) if "weight" in orders else None
        subject, trial, now = self._find(upstream, server), self.serving.overrides.copy(), self.clock.wall()
        done: list[str] = []
        if state is not None and trial.set_state(upstream, subject.server, subject.source, state, self.by, now):
            if state != "ready" and not force:
                self._refuse_last(subject, trial)
            done.append(_DONE[state])
        own = self._own_weight(subject)
        if weight is not None and trial.set_weight(upstream, subject.server, subject.source, weight, own, self.by, now):
            done.append(f"weight {weight}")
        if state == "ready" and done:
            for handle in self._handles(upstream, subject.members):
                handle.ramp()       # its share grows little by little from its return on, where the upstream has a slow start
        return await self._carry_out(subject, trial, done)

    async def add(self, upstream: str, server: Mapping[str, Any]) -> ServerChange:
        """`server`: what `upstreams.NAME.servers[]` takes. A server of the config that was removed is taken back."""
        members, added = self._members(upstream), parse_server(server)
        address, now = str(added.address), self.clock.wall()
        if any(address in (member.label, member.source) for member in members):
            raise OverrideError(codes.SERVER_EXISTS, f"upstream {upstream} has the server {address} already")
        subject, trial = _Subject(upstream, address, address, ()), self.serving.overrides.copy()
        trial.add(upstream, added, self.by, now)
        taken_back = address in {str(entry.address) for entry in self.serving.compiled.config.upstreams[upstream].servers}
        if taken_back and "weight" in added.model_fields_set:
            trial.set_weight(upstream, address, address, added.weight, self._own_weight(subject), self.by, now)
        return await self._carry_out(subject, trial, ["taken back" if taken_back else "added"])

    async def remove(self, upstream: str, server: str, *, force: bool = False) -> ServerChange:
        subject, trial = self._find(upstream, server), self.serving.overrides.copy()
        trial.remove(upstream, subject.server, subject.source, self.by, self.clock.wall())
        if not force:
            self._refuse_last(subject, trial)
        return await self._carry_out(subject, trial, ["removed"])

    # ------------------------------------------------------------------ the steps
    async def _carry_out(self, subject: _Subject, trial: Overrides, done: Sequence[str]) -> ServerChange:
        if done:
            before, self.serving.overrides = self.serving.overrides, trial
            try:
                await self.serving.refresh(subject.upstream)
            except BaseException:
                self.serving.overrides = before
                raise
        text = " and ".join(done) or "unchanged"
        labels = tuple(member.label for member in subject.members) or (subject.server,)
        return ServerChange(bool(done), f"{subject} {text}", labels, self.serving.views.upstream(subject.upstream))

    def _members(self, upstream: str) -> tuple[Member, ...]:
        members = self.serving.compiled.members
        if upstream not in members:
            raise OverrideError(codes.NO_UPSTREAM, f"there is no upstream `{upstream}`; there is {_listed(members)}")
        return members[upstream]

    def _find(self, upstream: str, server: str) -> _Subject:
        members, name = self._members(upstream), spelling(server)
        one = tuple(member for member in members if member.label == name)
        if one:
            return _Subject(upstream, name, one[0].source, one)
        several = tuple(member for member in members if member.source == name)
        if several:
            return _Subject(upstream, name, name, several)
        labels = _listed([member.label for member in members])
        raise OverrideError(codes.NO_SERVER, f"upstream {upstream} has no server `{server}`; it has {labels}")

    def _own_weight(self, subject: _Subject) -> int:
        """The weight that it has without a change of it."""
        config = self.serving.overrides.config(self.serving.compiled.config)
        return next((entry.weight for entry in config.upstreams[subject.upstream].servers if str(entry.address) == subject.source), 1)

    def _refuse_last(self, subject: _Subject, trial: Overrides) -> None:
        """Raise when no server would be left that requests could go to, and there is one now (or no server at all would be left)."""
        members = self._members(subject.upstream)
        after = trial.apply(subject.upstream, members)
        if after and (self._any_usable(subject.upstream, after, trial)
                      or not self._any_usable(subject.upstream, members, self.serving.overrides)):
            return
        which = "the only server" if len(members) == 1 else "the last usable server"
        raise OverrideError(codes.LAST_SERVER, f"{subject} is {which} of {subject.upstream}: without it every request fails (--force)")

    def _any_usable(self, upstream: str, members: Iterable[Member], overrides: Overrides) -> bool:
        ready = [member for member in members if overrides.state(upstream, member) == "ready"]
        states = (handle.state() for handle in self._handles(upstream, ready))
        return any(not {"health", "pending"} & set(state["down"]) and not state["ejected_for_ms"] for state in states)

    def _handles(self, upstream: str, members: Iterable[Member]) -> list[Server]:
        store = self.serving.store
        return [store.server(upstream, member.label, member.address) for member in members if member.address is not None]


_DONE: dict[State, str] = {"ready": "ready", "drain": "drained", "maint": "in maintenance"}


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - SHOWN_MAX} more" if len(every) > SHOWN_MAX else ""
    return (", ".join(f"`{name}`" for name in every[:SHOWN_MAX]) or "none") + more
