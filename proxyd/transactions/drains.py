"""What a new config takes leave of, and that serves out meanwhile: the connections of listeners and servers that it no longer has."""
from __future__ import annotations

from typing import TYPE_CHECKING

from proxyd.serving import Serving, binds_of
from proxyd.transactions.plan_text import Drains

if TYPE_CHECKING:
    from proxyd.config.model import Config


def drains_of(serving: Serving, config: Config) -> Drains:
    """Counted now; at the hand-over it may be a few more or less."""
    connections = flows = 0
    kept = dict(binds_of(config)).keys()
    for key, held in serving.store.listeners.items():
        if key not in kept:
            opened = held.listener.stats()["open"]
            connections, flows = (connections, flows + opened) if key.kind == "udp" else (connections + opened, flows)
    upstreams = serving.overrides.config(config).upstreams      # servers that operators added stay
    for upstream, members in serving.compiled.members.items():
        wanted = {str(server.address) for server in upstreams[upstream].servers} if upstream in upstreams else set()
        for member in members:
            server = serving.store.servers.get((upstream, member.label))
            if server is not None and member.source not in wanted:
                stats = server.stats()
                connections += max(stats["connections_active"], stats["in_flight"])     # the second has the flows of L4
    return Drains(connections, flows)
