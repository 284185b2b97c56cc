"""Something stale in the place of an error."""

from __future__ import annotations

from typing import Any

import pytest

from proxyd_ext.snapshot.spec import CacheSpec, ProxyAction, RetrySpec, RouteSpec, SnapshotSpec, TargetSpec
from tests.support.cache_rig import Ask, CacheRig, answer
from tests.support.engine import get

LARGE = bytes(range(256)) * 1024


@pytest.mark.parametrize("waits", ["backoff", "queue"])
def test_stale_instead_ends_the_wait_before_it(cache: CacheRig, waits: str) -> None:
    """The time of the whole is up while a backoff or a place in the queue is waited for: that must not come back during the answer."""
    cache.begin({"if_error_s": 3600}, scripted=True)
    client = cache.connect(Ask())
    origin, _ = cache.origin.asked()
    origin.send(answer(LARGE * 3, "Cache-Control: max-age=10"))
    assert client.response().body == LARGE * 3
    rig = cache.rig
    retry = RetrySpec(attempts=1, statuses=((503, 503),), backoff_ms=2000, jitter=False)
    room: dict[str, Any] = {"max_requests": 1, "max_pending": 9, "queue_ms": 2000} if waits == "queue" else {}
    action = ProxyAction([TargetSpec(0, retry=retry)], cache=CacheSpec("app", if_error_s=3600), total_ms=1500)
    rig.publish_spec(SnapshotSpec(
        0, "test", [rig.listener_spec([RouteSpec("all", action)])], [[RouteSpec("all", action)]], [rig.upstream(cache.origin, **room)],
        cache=cache.store,
    ))  # fmt: skip
    cache.wait(11)
    if waits == "queue":
        rig.connect().send(get("/other"))
        origin.request()
    slow = rig.connect(receive_bytes=4096)
    slow.send(get(f"/{cache.rows}"))
    if waits == "backoff":
        origin.request()
        origin.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    rig.settle()
    rig.advance(1600)
    rig.advance(2000)
    response = slow.response()
    assert (response.status, response.body) == (200, LARGE * 3)
