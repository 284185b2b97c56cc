"""Snapshots that serve nowhere, for questions."""
from __future__ import annotations

import os
from collections.abc import Sequence

from proxyd_ext.io.listener import Listener
from proxyd_ext.route.stats import RouteStats
from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import ListenerSpec, RouteSpec, SnapshotSpec


def of_routes(routes: Sequence[RouteSpec]) -> Snapshot:
    """A snapshot whose listener 0 has these routes and a descriptor that nobody can connect to."""
    listener = Listener("", "", [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)], True)
    stats = [RouteStats("", route.name) for route in routes]
    return Snapshot(SnapshotSpec(1, "", [ListenerSpec(listener, "", 0, [*stats, RouteStats("", "-")])], [routes]))
