"""What a request would meet: asked of the native route table itself, so that the dry run cannot differ from the traffic."""
from __future__ import annotations

import os
from typing import TYPE_CHECKING

from proxyd.config.address import BindAddress
from proxyd.snapshot.build import build_spec
from proxyd.snapshot.compiled import Compiled
from proxyd.snapshot.describe import action_text, targets
from proxyd.snapshot.members import members_of
from proxyd.snapshot.store import Store
from proxyd.state import RouteDecision
from proxyd_ext.io.listener import Listener
from proxyd_ext.snapshot import Snapshot

if TYPE_CHECKING:
    from proxyd.config.model import Config


def explain(compiled: Compiled, method: str, host: str, path: str, *, listener: str | None = None) -> tuple[RouteDecision, ...]:
    """One decision for every listener address, or for those of the named one (none if it is unknown)."""
    return tuple(
        _decide(compiled, index, method, host, path)
        for index, spec in enumerate(compiled.spec.listeners)
        if listener is None or spec.name == listener
    )


def explain_config(config: Config, method: str, host: str, path: str, *, listener: str | None = None) -> tuple[RouteDecision, ...]:
    """The same for a config that serves nowhere: compiled, but bound to nothing and connected to nobody."""
    return explain(compile_unbound(config), method, host, path, listener=listener)


def compile_unbound(config: Config) -> Compiled:
    """A snapshot whose listeners have no sockets; for questions, not for engines. ValueError where the native side refuses the config."""
    members = members_of(config, {})

    def listen(name: str, bind: BindAddress) -> Listener:
        # A listener owns at least one descriptor; this one is nothing that anybody could connect to.
        return Listener(name, str(bind), [os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)], True)

    spec = build_spec(config, members, listen, Store(), generation=0, config_hash="")
    return Compiled(config, members, spec, Snapshot(spec))


def _decide(compiled: Compiled, index: int, method: str, host: str, path: str) -> RouteDecision:
    spec = compiled.spec.listeners[index]
    routes = compiled.config.routes_of(compiled.config.listeners[spec.name])
    try:
        chosen, normal = compiled.native.match(index, method, host, path)
    except ValueError as error:
        return RouteDecision(spec.name, spec.listener.address, path, None, f"400 {error}", ())
    before = range(len(routes) if chosen < 0 else chosen)
    why_not = tuple((routes[number].name, tuple(compiled.native.why_not(index, number, method, host, path))) for number in before)
    if chosen < 0:
        return RouteDecision(spec.name, spec.listener.address, normal, None, "404 no route", (), why_not)
    route = routes[chosen]
    return RouteDecision(spec.name, spec.listener.address, normal, route.name, action_text(route), targets(route), why_not)
