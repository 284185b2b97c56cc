"""A gateway that follows configs as the daemon has it do, and an engine that notes what it is told."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from proxyd.config import Config
from proxyd.gateway.authority import Asked, Authority
from proxyd.gateway.parts import Parts
from proxyd.gateway.registry import BUILDERS
from proxyd.gateway.service import Gateway
from proxyd.snapshot.build import build_spec
from proxyd.snapshot.members import members_of
from proxyd.snapshot.store import Store
from proxyd.snapshot.verdicts import null_listener
from proxyd.tasks import Tasks
from proxyd_ext.auth.verdict import Verdict, Verdicts
from proxyd_ext.snapshot.spec import AuthFilter, SnapshotSpec
from tests.support.clock import FakeClock
from tests.support.config import config_in

if TYPE_CHECKING:
    from proxyd.config.auth import AuthKind


def asked(credential: str = "", *, method: str = "GET", target: str = "/", client: str = "192.0.2.7", **fields: str) -> Asked:
    """A question with these fields, `_` standing for `-`."""
    lines = tuple((name.replace("_", "-"), value) for name, value in fields.items())
    return Asked(method, target, "https", client, "id-1", "shop.example.com", lines, credential)


def question(client: str = "192.0.2.7", target: str = "/") -> bytes:
    """The bytes of one, as an engine writes them."""
    return f"GET {target} http {client} id-1\nshop.example.com\n\nAccept: */*\n".encode()


class Engine:
    """The side that waits; `answers` in the order in which they came."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Verdict | None]] = []
        self.look: Callable[[], object] = lambda: None      # called when a verdict comes
        self.looked: list[object] = []

    def decide(self, slot: int, generation: int, verdict: Verdict) -> None:
        self.answers.append((slot, verdict))
        self.looked.append(self.look())

    def fail(self, slot: int, generation: int) -> None:
        self.answers.append((slot, None))

    @property
    def slots(self) -> list[int]:
        return [slot for slot, _ in self.answers]

    def verdict(self, slot: int) -> Verdict:
        (found,) = [verdict for number, verdict in self.answers if number == slot]
        assert found is not None
        return found


class World:
    """`auth` policies p and q on two routes; the same handles over all configs."""

    def __init__(
        self, folder: Path, builders: Mapping[AuthKind, Callable[[Parts], Authority]] = BUILDERS, max_under_way: int = 1024,
        max_of_policy: int = 512,
    ) -> None:
        self.clock, self.engine, self.store = FakeClock(), Engine(), Store()
        self.tasks = Tasks(self.clock)
        self.gateway = Gateway(self.tasks, self.clock, builders=builders, max_under_way=max_under_way, max_of_policy=max_of_policy)
        self._folder = folder
        self._specs: list[SnapshotSpec] = []

    def spec(self, config: Config) -> SnapshotSpec:
        members = members_of(config, {})
        return build_spec(config, members, lambda name, bind: null_listener(name, str(bind)), self.store, generation=1, config_hash="")

    async def follow(self, p: str, q: str = "", more: str = "") -> None:
        """Take a config whose policies have these `auth` options."""
        policies = f"p: {{auth: {p}}}" + (f", q: {{auth: {q}}}" if q else "")
        routes = "{match: /p, use: p, to: app}" + (", {match: /q, use: q, to: app}" if q else "")
        text = f"listen: ':1'\nupstreams: {{app: '127.0.0.1:9'}}\npolicies: {{{policies}}}\nroutes: [{routes}]\n{more}\n"
        config = config_in(self._folder, text)
        self._specs.append(self.spec(config))
        await self.gateway.follow(config, self._specs[-1])

    def verdicts(self, policy: str = "p", config: int = -1) -> Verdicts:
        """Of a policy in the last config, or in one before."""
        filters = [filter_ for table in self._specs[config].tables for route in table for filter_ in route.filters]
        return next(filter_.verdicts for filter_ in filters if isinstance(filter_, AuthFilter) and filter_.policy == policy)

    def ask(
        self, slot: int, credential: str, *, digest: bytes = b"", policy: str = "p", client: str = "192.0.2.7", target: str = "/",
        config: int = -1,
    ) -> None:
        number = self.verdicts(policy, config).id
        key = digest or credential.encode().ljust(16, b"\0")[:16]
        self.gateway.on_decide(self.engine, slot, 1, number, question(client, target), credential.encode("latin-1"), key)

    async def close(self) -> None:
        await self.gateway.close()
        await self.tasks.close()
