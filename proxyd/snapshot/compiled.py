"""A config together with everything that was made from it: what serves, or is about to."""
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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

    @property
    def generation(self) -> int:
        return self.spec.generation

    @property
    def config_hash(self) -> str:
        return self.spec.config_hash
