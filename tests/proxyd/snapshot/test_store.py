from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from proxyd.config import Config
from proxyd.config.address import BindAddress
from proxyd.snapshot.build import build_spec
from proxyd.snapshot.members import members_of
from proxyd.snapshot.store import ListenerKey, Store
from proxyd.sockets import open_bound
from proxyd_ext.cache.store import Cache
from proxyd_ext.io.listener import Listener
from proxyd_ext.snapshot.spec import SnapshotSpec
from tests.support.config import config_of


def spec_of(store: Store, text: str) -> SnapshotSpec:
    """Bind what is new, and build."""
    config = config_of(text)

    def listen(name: str, bind: BindAddress) -> Listener:
        key = ListenerKey(name, str(bind), "http")
        if key not in store.listeners:
            store.adopt(name, str(bind), open_bound(bind, engines=1, exclusive=False))
        return store.listeners[key].listener

    return build_spec(config, members_of(config, {}), listen, store, generation=1, config_hash="x")


TWO = "{listen: '127.0.0.1:0', to: app, upstreams: {app: {servers: ['10.0.0.1:80', '10.0.0.2:80']}}}"
ONE = "{listen: '127.0.0.1:0', to: app, upstreams: {app: {servers: ['10.0.0.1:80']}}}"


def test_the_same_identity_is_the_same_handle() -> None:
    store = Store()
    first, second = spec_of(store, TWO), spec_of(store, ONE)
    assert second.upstreams[0].state is first.upstreams[0].state
    assert second.upstreams[0].members[0].server is first.upstreams[0].members[0].server
    assert second.listeners[0].listener is first.listeners[0].listener
    assert second.listeners[0].stats[0] is first.listeners[0].stats[0]


def test_the_same_address_in_another_upstream_is_another_server() -> None:
    store = Store()
    text = "{listen: '127.0.0.1:0', to: {a: 1, b: 1}, upstreams: {a: {servers: ['10.0.0.1:80']}, b: {servers: ['10.0.0.1:80']}}}"
    spec = spec_of(store, text)
    assert spec.upstreams[0].members[0].server is not spec.upstreams[1].members[0].server


def test_a_handle_is_let_go_when_no_snapshot_names_it() -> None:
    store = Store()
    first, second = spec_of(store, TWO), spec_of(store, ONE)
    store.sweep([first, second])
    assert set(store.servers) == {("app", "10.0.0.1:80"), ("app", "10.0.0.2:80")}
    store.sweep([second])
    assert set(store.servers) == {("app", "10.0.0.1:80")}
    store.sweep([])
    assert (store.servers, store.upstreams, store.routes, store.listeners) == ({}, {}, {}, {})


def test_a_listener_that_was_let_go_closes_its_socket() -> None:
    store = Store()
    before = len(os.listdir("/proc/self/fd"))
    spec = spec_of(store, ONE)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    del spec
    store.sweep([])
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_listener_that_left_does_not_return(tmp_path: Path) -> None:
    store = Store()
    text = f"{{listen: 'unix:{tmp_path}/a.sock', routes: [{{respond: 200}}]}}"
    bind = BindAddress(path=f"{tmp_path}/a.sock")
    key = ListenerKey("default", str(bind), "http")
    first = spec_of(store, text)
    assert not store.is_leaving(bind, {key})
    store.depart_others(set())
    assert store.is_leaving(bind, {key})
    second = spec_of(store, text)
    assert second.listeners[0].listener is not first.listeners[0].listener
    store.sweep([second])
    assert not store.is_leaving(bind, {key})
    assert (tmp_path / "a.sock").exists(), "the file is the successor's"
    store.remove_files()
    assert list(tmp_path.iterdir()) == []


def test_a_port_is_leaving_whatever_its_address() -> None:
    store = Store()
    spec_of(store, ONE)
    (key, held), = store.listeners.items()
    assert store.is_leaving(BindAddress(port=held.bound.port), set())
    assert not store.is_leaving(BindAddress(port=held.bound.port), {key})
    assert not store.is_leaving(BindAddress(port=1), set())


def test_listeners_of_different_kinds_share_an_address() -> None:
    store, bind = Store(), BindAddress.parse("127.0.0.1:0")
    connections = open_bound(bind, engines=1, kind="tcp")
    datagrams = open_bound(BindAddress(host="127.0.0.1", port=connections.port), engines=1, kind="udp")
    for bound in (connections, datagrams):
        store.adopt("dns", "127.0.0.1:53", bound)
    assert [key.kind for key in store.listeners] == ["tcp", "udp"]
    port = BindAddress(port=connections.port)
    store.depart_others([ListenerKey("dns", "127.0.0.1:53", "udp")])
    assert store.is_leaving(port, store.listeners, "tcp")
    assert store.is_leaving(port, store.listeners, "http"), "the ports of HTTP are those of TCP"
    assert not store.is_leaving(port, store.listeners, "udp")
    store.sweep([])


def test_connections_to_departed_servers_stay_in_the_upstreams_count() -> None:
    store = Store()
    spec = spec_of(store, ONE)
    assert store.departed_opened("app", ()) == 0
    assert store.departed_opened("app", (member.server for member in spec.upstreams[0].members)) == 0
    store.sweep([])
    assert store.departed_opened("app", ()) == 0


def cached(size: str) -> Config:
    return config_of(f"{{listen: '127.0.0.1:0', cache: {{memory: {size}}}, routes: [{{to: ['10.0.0.1:80'], cache: on}}]}}")


def limit(cache: Cache | None) -> int:
    assert cache is not None
    return cache.stats()["limit_bytes"]


def test_a_cache_is_made_when_something_is_stored_and_let_go_when_nothing_is() -> None:
    store = Store()
    assert store.cache_for(config_of(ONE)) is None
    cache = store.cache_for(cached("1GiB"))
    assert limit(cache) == 1 << 30
    assert store.cache_for(cached("1GiB")) is cache
    spec = replace(spec_of(store, ONE), cache=cache)
    store.sweep([spec])
    assert store.cache is cache
    store.sweep([spec_of(store, ONE)])
    assert store.cache is None


def test_a_cache_is_resized_when_the_config_serves_and_not_before() -> None:
    store = Store()
    cache = store.cache_for(cached("1GiB"))
    assert store.cache_for(cached("2GiB")) is cache
    assert limit(cache) == 1 << 30
    store.resize_cache(cached("2GiB"))
    assert limit(cache) == 2 << 30
    store.resize_cache(config_of(ONE))
    assert limit(cache) == 2 << 30


def test_without_a_cache_there_is_nothing_to_resize() -> None:
    store = Store()
    store.resize_cache(cached("1GiB"))
    assert store.cache is None
