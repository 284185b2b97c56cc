"""A config together with everything that was made from it: what serves, or is about to."""
from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from proxyd.snapshot.build import used_upstreams
from proxyd.snapshot.members import Members
from proxyd_ext.snapshot import Snapshot

if TYPE_CHECKING:
    from proxyd.config.model import Config
    from proxyd_ext.snapshot.spec import SnapshotSpec


@dataclass(frozen=True, slots=True)
class Compiled:
    config: Config
    members: Members
    spec: SnapshotSpec
    native: Snapshot
    used: frozenset[str] = field(init=False)         # upstreams that something can go to

    def __post_init__(self) -> None:
        object.__setattr__(self, "used", frozenset(used_upstreams(self.config)))

    @property
    def generation(self) -> int:
        return self.spec.generation

    @property
    def config_hash(self) -> str:
        return self.spec.config_hash
