from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from proxyd.admin.client import Answer, Refused
from proxyd.caching.purge import Purge
from tests.support.store import FakeObject, FakeStore

Ask = Callable[..., Awaitable[Answer]]


async def test_stats(ask: Ask, daemon: Any) -> None:
    assert (await ask("GET", "/cache")).json()["enabled"] is False
    daemon.store = FakeStore([FakeObject("http://h/a")], bytes=700)
    found = (await ask("GET", "/cache")).json()
    assert (found["enabled"], found["hit_ratio"], found["store"]["bytes"]) == (True, 0.88, 700)
    assert (found["routes"][0]["route"], found["tiers"][0]["circuit_open"], found["snapshot"]["loaded"]) == ("media", True, 12)


async def test_objects_under_a_url(ask: Ask, daemon: Any) -> None:
    daemon.store = FakeStore([FakeObject("http://h/a?b=1", tags=["x"])])
    found = (await ask("GET", "/cache/objects", query={"url": "h/a?b=1"})).json()
    assert [(entry["url"], entry["tags"], entry["zone"]) for entry in found["objects"]] == [("http://h/a?b=1", ["x"], "app")]


async def test_why_asks_with_the_fields_of_the_request(ask: Ask, daemon: Any) -> None:
    daemon.store = FakeStore([FakeObject("http://h.example/a", state="marker", reason="private")])
    headers = [("header", "Accept: text/html"), ("header", "X-A:1")]
    query = [("url", "http://H.example/a?x=1"), *headers, ("client", "::1"), ("listener", "web")]
    found = (await ask("GET", "/cache/why", query=query)).json()
    assert (found["url"], found["verdict"]) == ("http://h.example/a?x=1", "absent")
    (_, _, question), = daemon.asked
    assert (question.method, question.host, question.path, question.query) == ("GET", "h.example", "/a", "x=1")
    assert (question.headers, question.client, question.listener) == ((("Accept", "text/html"), ("X-A", "1")), "::1", "web")
    found = (await ask("GET", "/cache/why", query={"url": "h.example/a"})).json()
    assert (found["verdict"], found["section"]) == ("not_stored", "RFC 9111 §5.2.2.7")


async def test_a_purge_is_carried_out_and_leaves_one_audit_record(ask: Ask, daemon: Any) -> None:
    found = (await ask("POST", "/cache/purge", body=b'{"tag": ["a", "b"], "soft": true}')).json()
    assert (found["purged"], found["spread"], found["orders"][1]) == (7, None, {"kind": "tag", "text": "b", "soft": True})
    assert daemon.asked == [("purge", (Purge("tag", "a", True), Purge("tag", "b", True)))]
    record, = await daemon.audit.last(9)
    assert (record["action"], record["target"], record["detail"]) == ("cache.purge", "soft tag a, soft tag b", {"objects": 7})


async def test_queries_are_not_in_the_audit_record(ask: Ask, daemon: Any) -> None:
    await ask("POST", "/cache/purge", body=b'{"url": "http://h/a?token=s3cret"}')
    record, = await daemon.audit.last(9)
    assert record["target"] == "url http://h/a"


@pytest.mark.parametrize(("method", "path", "query", "body"), [
    ("GET", "/cache/objects", {}, b""),
    ("GET", "/cache/objects", {"url": "/a"}, b""),
    ("GET", "/cache/why", {"url": "ftp://h/"}, b""),
    ("GET", "/cache/why", {"url": "http://h/", "client": "me"}, b""),
    ("GET", "/cache/why", {"url": "http://h/", "header": "none"}, b""),
    ("POST", "/cache/purge", {}, b"{}"),
    ("POST", "/cache/purge", {}, b'{"url": "http://h/", "all": true}'),
])
async def test_what_makes_no_sense_is_told(ask: Ask, daemon: Any, method: str, path: str, query: dict[str, str], body: bytes) -> None:
    with pytest.raises(Refused) as refusal:
        await ask(method, path, query=query, body=body)
    assert (refusal.value.status, refusal.value.code) == (400, "PXD-244")
    assert daemon.asked == []
