"""The daemon's part for `auth`: answers engines that ask about a credential, and keeps what outlives configs (usage of quotas).

    engine --("decide", Verdicts.id, request, credential, digest)--> on_decide --> the policy's authority --> Verdicts.put, Engine.decide

What bounds it: MAX_UNDER_WAY questions at a time for all policies, MAX_OF_POLICY for one; the same credential is asked about once, and all
who wait get that answer; the policy's timeout ends a question. Beyond a bound, and where an authority has no answer, the request gets 503
(`Engine.fail`) and nothing is remembered.

Verdicts of one definition are one native handle (snapshot/handles.py), so an authority belongs to the id of its handle: what a reload has
not changed keeps both. Authorities that left stay for LINGER: requests that an old snapshot has routed may still ask.
"""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from proxyd.gateway.authority import Authority, AuthUnavailable, Decided, KeyedAuthority, PromptAuthority, parse_asked
from proxyd.gateway.consumers import Consumers
from proxyd.gateway.parts import Parts
from proxyd.gateway.passwords import Passwords
from proxyd.gateway.registry import BUILDERS
from proxyd.gateway.usage import UsageKeeper, UsageRule, current
from proxyd.gateway.views import AuthView, ConsumerUsage, KeysView, PolicyView, UsageOfQuotas
from proxyd_ext.snapshot.spec import AuthFilter

if TYPE_CHECKING:
    from proxyd.clock import Clock
    from proxyd.config.auth import AuthKind
    from proxyd.config.model import Config
    from proxyd.gateway.authority import Asked
    from proxyd.tasks import Tasks
    from proxyd_ext.auth.verdict import Verdict, Verdicts
    from proxyd_ext.snapshot.spec import SnapshotSpec

MAX_UNDER_WAY = 1024      # questions
MAX_OF_POLICY = 512       # of them: a service that is slow leaves places to the other policies
LINGER = 60.0             # seconds
TELL_EVERY = 10.0         # seconds

log = logging.getLogger("proxyd.gateway")


class Deciding(Protocol):
    """The side of an engine that waits for a verdict."""

    def decide(self, slot: int, generation: int, verdict: Verdict) -> None: ...

    def fail(self, slot: int, generation: int) -> None: ...


@dataclass(frozen=True, slots=True)
class AuthEntry:
    """A policy that serves, for readers of counters: `verdicts.stats()`."""

    policy: str
    kind: AuthKind
    verdicts: Verdicts


@dataclass(slots=True)
class _Served:
    """A policy's authority, and what it has been asked."""

    policy: str
    kind: AuthKind
    verdicts: Verdicts
    authority: Authority
    prompt: PromptAuthority | None      # the same, where it never waits
    timeout: float
    under_way: dict[tuple[bytes, str], _Question] = field(default_factory=dict)
    told: bool = False        # the log says that there are no verdicts
    quiet_until: float = 0.0  # before it is told so again


@dataclass(slots=True)
class _Question:
    digest: bytes
    waiting: list[tuple[Deciding, int, int]]      # engine, slot, generation
    revoked: bool = False                         # meanwhile: its answer is not remembered


class Gateway:
    def __init__(
        self, tasks: Tasks, clock: Clock, *, builders: Mapping[AuthKind, Callable[[Parts], Authority]] = BUILDERS,
        max_under_way: int = MAX_UNDER_WAY, max_of_policy: int = MAX_OF_POLICY,
    ) -> None:
        self._tasks, self._clock = tasks, clock
        self._builders, self._max_under_way, self._max_of_policy = builders, max_under_way, max_of_policy
        self._served: dict[int, _Served] = {}          # by Verdicts.id
        self._leaving: dict[int, tuple[float, _Served]] = {}      # those of configs before: when they go
        self._under_way = 0
        self.refused = 0                               # questions beyond the bound
        self.consumers = Consumers()
        self.passwords = Passwords(clock)
        self._usage = UsageKeeper(tasks, clock, self.consumers)

    # ------------------------------------------------------------------ life
    async def follow(self, config: Config, spec: SnapshotSpec) -> None:
        """Serve the policies of the config that is being taken; before the engines get it, so that none asks too early."""
        wanted = dict(_auth_filters(spec))
        made = {number: self._make(config, filter_, number) for number, filter_ in wanted.items() if number not in self._known()}
        now = self._clock.monotonic()
        for number in [number for number in self._served if number not in wanted]:
            self._leaving[number] = (now + LINGER, self._served.pop(number))
            self._tasks.spawn("auth: let go", self._let_go(number))
        for number in wanted:
            if number in self._leaving:                # a config that had been replaced is back
                made[number] = self._leaving.pop(number)[1]
        self._served |= made
        usage = config.usage
        await self._usage.follow(UsageRule(Path(usage.file), usage.every.seconds) if usage is not None else None)

    def _known(self) -> set[int]:
        return {*self._served, *self._leaving}

    def _make(self, config: Config, filter_: AuthFilter, number: int) -> _Served:
        auth = config.policies[filter_.policy].auth
        assert auth is not None
        forget = partial(self._forget_all, number)
        parts = Parts(filter_.policy, auth, config, self._tasks, self._clock, self.consumers, self.passwords, forget)
        authority = self._builders[auth.kind](parts)
        prompt = authority if isinstance(authority, PromptAuthority) else None
        return _Served(filter_.policy, auth.kind, filter_.verdicts, authority, prompt, auth.timeout.seconds)

    async def _let_go(self, number: int) -> None:
        await self._clock.sleep(LINGER)
        ends, served = self._leaving.get(number, (0.0, None))
        if served is not None and ends <= self._clock.monotonic():      # it may have come back, and left again
            del self._leaving[number]
            await served.authority.close()

    async def save(self) -> None:
        """Write usage of quotas now: another process is going to read it."""
        await self._usage.save()

    async def hand_over(self) -> None:
        """Another process keeps usage of quotas now."""
        await self._usage.hand_over()

    async def close(self) -> None:
        """After the engines have closed."""
        every = [*self._served.values(), *(served for _, served in self._leaving.values())]
        self._served, self._leaving = {}, {}
        for served in every:
            await served.authority.close()
        await self.passwords.close()
        await self._usage.close()

    # ------------------------------------------------------------------ questions
    def on_decide(
        self, engine: Deciding, slot: int, generation: int, number: int, request: bytes, credential: bytes, digest: bytes
    ) -> None:
        """An engine asks; it is answered at once or later, by `decide` or `fail`, and exactly once."""
        served = self._served.get(number) or self._leaving.get(number, (0.0, None))[1]
        if served is None or self._tasks.closed:
            engine.fail(slot, generation)
            return
        try:
            asked = parse_asked(request, credential)
        except ValueError:
            log.exception("a question that is none")
            engine.fail(slot, generation)
            return
        if served.prompt is not None:
            decided = served.prompt.decide_now(asked)
            self._remember(served, digest, decided)
            engine.decide(slot, generation, decided.verdict)
            return
        # A service may go by the client's address, which is not in the digest: an answer for one client is not given to another beside it.
        key = (digest, asked.client if served.kind == "forward" else "")
        question = served.under_way.get(key)
        if question is not None and not question.revoked:
            question.waiting.append((engine, slot, generation))
            return
        if self._under_way >= self._max_under_way or len(served.under_way) >= self._max_of_policy:
            self.refused += 1
            engine.fail(slot, generation)
            return
        question = served.under_way[key] = _Question(digest, [(engine, slot, generation)])
        self._under_way += 1
        self._tasks.spawn(f"auth {served.policy}", self._answer(served, key, question, asked))

    async def _answer(self, served: _Served, key: tuple[bytes, str], question: _Question, asked: Asked) -> None:
        decided: Decided | None = None
        try:
            decided = await self._decide(served, asked)
            if decided is not None and not question.revoked:
                self._remember(served, question.digest, decided)
        finally:
            self._under_way -= 1
            if served.under_way.get(key) is question:      # one that was revoked may have been asked anew
                del served.under_way[key]
            for engine, slot, generation in question.waiting:
                if decided is not None:
                    engine.decide(slot, generation, decided.verdict)
                else:
                    engine.fail(slot, generation)

    def _remember(self, served: _Served, digest: bytes, decided: Decided) -> None:
        if decided.ttl > 0:
            served.verdicts.put(digest, decided.verdict, int(decided.ttl * 1000))

    async def _decide(self, served: _Served, asked: Asked) -> Decided | None:
        try:
            async with asyncio.timeout(served.timeout):
                decided = await served.authority.decide(asked)
        except AuthUnavailable as error:
            self._tell(served, str(error))
        except TimeoutError:
            self._tell(served, f"no verdict within {served.timeout:g} s")
        else:
            if served.told:
                log.info("auth policy %s: there are verdicts again", served.policy)
                served.told = False
            return decided
        return None

    def _tell(self, served: _Served, why: str) -> None:
        """Now and then, not for each request."""
        now = self._clock.monotonic()
        if now >= served.quiet_until:
            log.warning("auth policy %s: %s; requests that need a verdict get 503", served.policy, why)
            served.told, served.quiet_until = True, now + TELL_EVERY

    # ------------------------------------------------------------------ orders and views
    def revoke(self, policy: str, user: str | None = None) -> int:
        """Forget the remembered verdicts of a user (of all) in a policy, so that they are asked about again; how many. KeyError: no such
        policy serves."""
        every = [served for served in self._every() if served.policy == policy]
        if not every:
            raise KeyError(policy)
        return sum(_forget(served, user) for served in every)

    def _forget_all(self, number: int) -> None:
        """What one policy remembers, which may not hold any more."""
        for served in (self._served.get(number), self._leaving.get(number, (0.0, None))[1]):
            if served is not None:
                _forget(served, None)

    def entries(self) -> tuple[AuthEntry, ...]:
        """Of the policies that serve, in the order in which they came."""
        return tuple(AuthEntry(served.policy, served.kind, served.verdicts) for served in self._served.values())

    def usage(self) -> tuple[ConsumerUsage, ...]:
        """Who has used what of a quota in the period that runs, by name."""
        counts = current(self.consumers.usage(), self._clock.wall())
        return tuple(sorted((ConsumerUsage(name, period, used) for (period, name), (_, used) in counts.items()), key=lambda one: one.name))

    def view(self) -> AuthView:
        """Of the policies that serve, in the order in which they came."""
        return AuthView(tuple(
            PolicyView(served.policy, served.kind, **served.verdicts.stats(), keys=_keys_of(served.authority))
            for served in self._served.values()
        ))

    def usage_view(self) -> UsageOfQuotas:
        return UsageOfQuotas(self.usage(), self._usage.view())

    @property
    def under_way(self) -> int:
        return self._under_way

    def _every(self) -> Iterator[_Served]:
        yield from self._served.values()
        yield from (served for _, served in self._leaving.values())


def _forget(served: _Served, user: str | None) -> int:
    """Answers under way may rest on what is forgotten, so they are not remembered."""
    for question in served.under_way.values():
        question.revoked = True
    return served.verdicts.clear() if user is None else served.verdicts.forget_user(user)


def _keys_of(authority: Authority) -> tuple[KeysView, ...]:
    return authority.views() if isinstance(authority, KeyedAuthority) else ()


def _auth_filters(spec: SnapshotSpec) -> Iterator[tuple[int, AuthFilter]]:
    for table in spec.tables:
        for route in table:
            for filter_ in route.filters:
                if isinstance(filter_, AuthFilter):
                    yield filter_.verdicts.id, filter_
