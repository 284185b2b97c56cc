"""Listeners of L4 in a Rig: snapshots with flows, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from proxyd_ext.snapshot.spec import FlowRoute, FlowSpec, ListenerSpec, SnapshotSpec, TargetSpec, UpstreamSpec
from tests.support.engine import Rig
from tests.support.wire import Origin, Peer

if TYPE_CHECKING:
    from proxyd_ext.io.listener import ListenerStats


def flow_listener(
    rig: Rig,
    routes: Sequence[FlowRoute] | None = None,
    *,
    kind: Any = "tcp",
    name: str = "web",
    flow: dict[str, Any] | None = None,
    target: dict[str, Any] | None = None,
    **settings: Any,
) -> ListenerSpec:
    """A listener whose flows go by these routes, or all to upstream 0."""
    routes = routes if routes is not None else [FlowRoute(name, [TargetSpec(0, **(target or {}))])]
    return ListenerSpec(rig.listen(name), name, flow=FlowSpec(kind, routes, **(flow or {})), **settings)


def serve_flows(
    rig: Rig,
    *origins: Origin,
    upstream: dict[str, Any] | None = None,
    routes: Sequence[FlowRoute] | None = None,
    upstreams: Sequence[UpstreamSpec] | None = None,
    wait: bool = True,
    **settings: Any,
) -> None:
    """The usual: everything that comes goes to one upstream, "app", of these origins."""
    uses = upstreams if upstreams is not None else [rig.upstream(*origins, **(upstream or {}))]
    rig.publish_spec(SnapshotSpec(0, "test", [flow_listener(rig, routes, **settings)], [], uses), wait=wait)


def pair(rig: Rig, origin: Origin, **connect: Any) -> tuple[Peer, Peer]:
    """A client and the connection of its flow at the origin."""
    client = rig.connect(**connect)
    return client, origin.accept()


def ended(rig: Rig, listener: str = "web") -> dict[str, int]:
    return rig.listeners[listener].stats()["ended"]


def stats(rig: Rig, listener: str = "web") -> ListenerStats:
    return rig.listeners[listener].stats()


def await_end(rig: Rig, word: str, count: int = 1, listener: str = "web") -> None:
    rig.until(lambda: ended(rig, listener).get(word, 0) >= count, f"{count} flows ended by {word}: {ended(rig, listener)}")
    assert ended(rig, listener)[word] == count
