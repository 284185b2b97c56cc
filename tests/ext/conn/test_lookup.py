"""What is looked up, and under which key; fetching behind a stale answer."""

from __future__ import annotations

import pytest

from proxyd_ext.cache.store import Cache
from proxyd_ext.snapshot.spec import CacheSpec, FailoverSpec, HashKey, ProxyAction, RetrySpec, RouteSpec, SnapshotSpec, TargetSpec
from tests.support.cache_rig import Answer, Ask, CacheRig, answer
from tests.support.engine import Rig, get

MINUTE = "Cache-Control: max-age=60"


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_a_get_in_disguise_is_not_stored(cache: CacheRig, name: str) -> None:
    cache.begin({})
    cache.answer = Answer(MINUTE)
    cache.ask(Ask(fields=[f"{name}: POST"]))
    assert cache.ask(Ask()).body == b"#2"
    assert cache.ask(Ask()).body == b"#2"


def test_a_host_with_its_dot_is_another_key(cache: CacheRig) -> None:
    """The server is sent it as it came, and may not know it."""
    cache.begin({})
    cache.answer = Answer(MINUTE)
    assert cache.ask(Ask(host="test.")).body == b"#1"
    assert cache.ask(Ask(host="test")).body == b"#2"


def test_a_fetch_behind_that_fails_over_leaves_its_asker_alone() -> None:
    """It reads its own head again at once; the asker's conditions are still those of the asker."""
    rig = Rig("inline")
    store = Cache(8 << 20)
    origin, second = (rig.origin().serve(answer(b"0123456789", "Cache-Control: max-age=60, stale-while-revalidate=600")) for _ in range(2))
    key: HashKey = "path"
    upstreams = [rig.upstream(origin), rig.upstream(second, name="second", balance="hash", hash_key=key)]
    action = ProxyAction(
        [TargetSpec(0, retry=RetrySpec(attempts=0))], cache=CacheSpec("app"), failover=FailoverSpec(TargetSpec(1), no_server=True),
    )  # fmt: skip
    route = RouteSpec("all", action)
    rig.publish_spec(SnapshotSpec(0, "test", [rig.listener_spec([route])], [[route]], upstreams, cache=store))
    client = rig.connect()
    client.send(get("/x"))
    assert client.response().body == b"0123456789"
    rig.settle()
    rig.advance(61_000)
    rig.servers[("app", origin.label)].set_down("health", True)
    client.send(get("/x", "Range: bytes=2-4"))
    response = client.response()
    assert (response.status, response.body) == (206, b"234")
    store.purge("all")
    del store, upstreams
    rig.finish()
