"""What changes between two configs, as data with a sentence each: for `reload --dry-run`, the log, and what cannot change live."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

from proxyd.config.error_pages import PageFile
from proxyd.config.flows import TlsListener
from proxyd.diagnostics.nodes import SecretText
from proxyd.state import Change

if TYPE_CHECKING:
    from proxyd.config.base import Model
    from proxyd.config.model import Config, FlowRoute, Route, Upstream

SHOWN_MAX = 60    # characters of a value
BORN_WITH = ("threads", "user", "group")     # what of `runtime` a process has from its start

Thing = Literal["listener", "route", "upstream", "server", "runtime", "cache", "log", "admin"]


def plan(old: Config, new: Config) -> tuple[Change, ...]:
    """Every difference that has an effect, in the order of the config's sections. Empty: the two mean the same."""
    return tuple(_changes(old, new))


def _changes(old: Config, new: Config) -> Iterator[Change]:
    yield from _runtime(old, new)
    yield from _listeners(old, new)
    yield from _routes(old, new)
    yield from _upstreams(old.upstreams, new.upstreams)
    sections: tuple[tuple[Thing, Model, Model], ...] = (
        ("cache", old.cache, new.cache), ("admin", old.admin, new.admin), ("log", old.log, new.log),
    )
    for thing, before, after in sections:
        for text in _fields(before, after):
            yield Change("changed", thing, text.partition(":")[0], f"{thing}.{text}")


def _runtime(old: Config, new: Config) -> Iterator[Change]:
    for text in _fields(old.runtime, new.runtime):
        yield Change("changed", "runtime", f"runtime.{text.partition(':')[0]}", f"runtime.{text}", live=not text.startswith(BORN_WITH))


def _listeners(old: Config, new: Config) -> Iterator[Change]:
    before = {(name, str(bind)) for name, listener in old.listeners.items() for bind in listener.bind}
    after = {(name, str(bind)) for name, listener in new.listeners.items() for bind in listener.bind}
    for name, bind in sorted(before - after):
        yield Change("removed", "listener", f"{name} {bind}", f"listener {name}: no longer on {bind}")
    for name, bind in sorted(after - before):
        yield Change("added", "listener", f"{name} {bind}", f"listener {name}: now on {bind}")
    for name in (name for name in new.listeners if name in old.listeners):
        was, now = old.listeners[name], new.listeners[name]
        if type(was) is not type(now):     # what else differs follows from it
            yield Change("changed", "listener", name, f"listener {name}: mode: {was.mode} -> {now.mode}")
            continue
        for text in _fields(was, now, leave_out=("bind", "routes")):
            yield Change("changed", "listener", name, f"listener {name}: {text}")
        if isinstance(was, TlsListener) and isinstance(now, TlsListener):
            yield from _hellos(name, {route.name: route for route in was.routes}, {route.name: route for route in now.routes})


def _hellos(listener: str, was: Mapping[str, FlowRoute], now: Mapping[str, FlowRoute]) -> Iterator[Change]:
    """Routes of a listener that chooses them by the ClientHello."""
    for name in dict.fromkeys((*was, *now)):
        place = f"{listener}/{name}"
        if name not in now:
            yield Change("removed", "route", place, f"route {place} removed")
        elif name not in was:
            yield Change("added", "route", place, f"route {place} added")
        else:
            for text in _fields(was[name], now[name], leave_out=("name",)):
                yield Change("changed", "route", place, f"route {place}: {text}")
    common = [name for name in now if name in was]
    if common != [name for name in was if name in now]:
        yield Change("changed", "route", f"{listener}/", f"routes of listener {listener}: new order: {', '.join(now)}")


def _routes(old: Config, new: Config) -> Iterator[Change]:
    """Top-level routes, and those of each listener that has its own."""
    before, after = _tables(old), _tables(new)
    for owner in [*after, *(owner for owner in before if owner not in after)]:
        prefix = f"{owner}/" if owner else ""
        was = {route.name: route for route in before.get(owner, ())}
        now = {route.name: route for route in after.get(owner, ())}
        for name, route in was.items():
            if name not in now:
                yield Change("removed", "route", prefix + name, f"route {prefix}{name} ({route.match}) removed")
        for name, route in now.items():
            if name not in was:
                yield Change("added", "route", prefix + name, f"route {prefix}{name} ({route.match}) added")
                continue
            for text in _fields(was[name], route, leave_out=("name",)):
                yield Change("changed", "route", prefix + name, f"route {prefix}{name}: {text}")
            for text in _policies(old, was[name], new, route):
                yield Change("changed", "route", prefix + name, f"route {prefix}{name}: {text}")
        common = [name for name in now if name in was]
        if common != [name for name in was if name in now]:
            where = f"of listener {owner}" if owner else "(top level)"
            yield Change("changed", "route", prefix or "routes", f"routes {where}: new order: {', '.join(now)}")


def _tables(config: Config) -> dict[str, tuple[Route, ...]]:
    own = {name: listener.own_routes for name, listener in config.listeners.items() if listener.own_routes is not None}
    return {"": config.routes} | own


def _policies(old: Config, was: Route, new: Config, now: Route) -> Iterator[str]:
    """Policies that act on the route in another way than before, although it names the same ones."""
    before, after = dict(old.policies_of(was)), dict(new.policies_of(now))
    for name in dict.fromkeys((*before, *after)):
        if name not in after:
            if name not in was.use:
                yield f"no longer uses policy {name} (defaults)"
        elif name not in before:
            if name not in now.use:
                yield f"uses policy {name} (defaults)"
        else:
            for text in _fields(before[name], after[name]):
                yield f"policy {name}: {text}"


def _upstreams(old: Mapping[str, Upstream], new: Mapping[str, Upstream]) -> Iterator[Change]:
    for name in old:
        if name not in new:
            yield Change("removed", "upstream", name, f"upstream {name} removed")
    for name, upstream in new.items():
        if name not in old:
            yield Change("added", "upstream", name, f"upstream {name} added, {_count(len(upstream.servers), 'server')}")
            continue
        for text in _fields(old[name], upstream, leave_out=("servers",)):
            yield Change("changed", "upstream", name, f"upstream {name}: {text}")
        was = {str(server.address): server for server in old[name].servers}
        now = {str(server.address): server for server in upstream.servers}
        for address in was:
            if address not in now:
                yield Change("removed", "server", f"{name}/{address}", f"server {name}/{address} removed")
        for address, server in now.items():
            if address not in was:
                yield Change("added", "server", f"{name}/{address}", f"server {name}/{address} added")
                continue
            for text in _fields(was[address], server):
                yield Change("changed", "server", f"{name}/{address}", f"server {name}/{address}: {text}")


def _fields(old: Model, new: Model, *, leave_out: tuple[str, ...] = ()) -> Iterator[str]:
    """One text for each leaf that differs: "limits.idle_timeout: 75s -> 60s"."""
    skip = set(leave_out)
    yield from _leaves("", old.model_dump(exclude=skip), new.model_dump(exclude=skip))


def _leaves(path: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from _leaves(f"{path}.{key}" if path else str(key), old.get(key), new.get(key))
    elif isinstance(old, tuple) and isinstance(new, tuple) and len(old) == len(new) and all(map(_is_mapping, (*old, *new))):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _leaves(f"{path}[{index}]", before, after)
    elif old != new:
        yield f"{path}: {_shown(old)} -> {_shown(new)}"


def _is_mapping(value: object) -> bool:
    return isinstance(value, dict)


def _shown(value: Any) -> str:
    text = _text(value)
    if len(text) <= SHOWN_MAX:
        return text
    # Two long paths mostly differ at their ends, other values at their beginnings.
    tail = 0 if " " in text else SHOWN_MAX // 2
    return f"{text[: SHOWN_MAX - 3 - tail]}...{text[len(text) - tail :]}"


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, SecretText):
        return "***"
    if isinstance(value, PageFile):
        return value.mark
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_text(item)}" for key, item in value.items() if item is not None) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_text(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if value == "" or "\n" in str(value) else str(value)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
