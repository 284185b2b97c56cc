"""The places of routes: which routes have a lane, and what the gate is told when a config takes effect."""
from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxyd.config.model import Config, Route


def needs_lane(config: Config, route: Route) -> bool:
    """Whether anything bounds the requests of the route: its own `concurrency`, or a total."""
    return False
