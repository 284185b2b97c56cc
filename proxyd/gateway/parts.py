"""What an authority is built from."""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxyd.clock import Clock
    from proxyd.config.auth import Auth
    from proxyd.config.model import Config
    from proxyd.gateway.consumers import Consumers
    from proxyd.gateway.passwords import Passwords
    from proxyd.tasks import Tasks


def nothing() -> None:
    """Where nobody remembers."""


@dataclass(frozen=True, slots=True)
class Parts:
    policy: str               # its name
    auth: Auth
    config: Config            # for what lies outside of the policy: usage plans, claims that limits name
    tasks: Tasks
    clock: Clock
    consumers: Consumers
    passwords: Passwords
    forget: Callable[[], None] = nothing      # what was remembered for the policy, because it may not hold any more
