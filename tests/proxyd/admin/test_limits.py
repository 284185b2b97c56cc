from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from proxyd.admin.client import Answer, Refused
from proxyd.limits.masking import mark

Ask = Callable[..., Awaitable[Answer]]


async def test_all_of_them(ask: Ask, daemon: Any) -> None:
    assert (await ask("GET", "/limits")).json() == {"limits": [], "places": None, "shed_below": "none", "store": None}
    daemon.limited = True
    found = (await ask("GET", "/limits")).json()
    assert [(entry["policy"], entry["kind"], entry["keys"]) for entry in found["limits"]] == [
        ("per-ip", "rate", 1234), ("all", "rate", 1), ("in", "concurrency", 2), ("out", "ban", 2)]
    assert (found["limits"][1]["shared"]["beyond_burst"], found["places"]["lanes"][0]["in_use"], found["store"]["nodes"]) == (12, 12, 3)


async def test_one(ask: Ask) -> None:
    found = (await ask("GET", "/limits/per-ip")).json()
    assert (found["decisions"]["refused"], found["top"][0]) == (40, {"key": "192.0.2.1", "requests": 639, "refused": 32})


async def test_one_key(ask: Ask) -> None:
    found = (await ask("GET", "/limits/per-ip", query={"key": "192.0.2.1"})).json()
    assert (found["key"], found["remaining"], found["reset_seconds"]) == (["192.0.2.1"], 37, 0.2)
    found = (await ask("GET", "/limits/all", query=[("key", "h"), ("key", "/p q")])).json()
    assert found["key"] == ["h", "/p q"]


@pytest.mark.parametrize(("body", "key"), [(b"", ()), (b'{"key": "::1"}', ("::1",)), (b'{"key": ["::1"]}', ("::1",))])
async def test_a_reset_leaves_one_audit_record(ask: Ask, daemon: Any, body: bytes, key: Any) -> None:
    found = (await ask("POST", "/limits/per-ip/reset", body=body)).json()
    assert (found["forgotten"], found["everywhere"]) == (1 if key else 1234, None)
    assert daemon.asked == [("reset", "per-ip", key)]
    record, = await daemon.audit.last(9)
    assert (record["action"], record["target"]) == ("limit.reset", "per-ip")
    assert record["detail"] == {"keys": ["::1"] if key else "all", "forgotten": 1 if key else 1234}


async def test_credentials_are_not_in_the_audit_record(ask: Ask, daemon: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = replace(daemon.limit("per-ip"), key=("header:x-api-key",))
    monkeypatch.setattr(daemon, "limit", lambda policy: limit)
    await ask("POST", "/limits/per-ip/reset", body=b'{"key": "s3cret"}')
    record, = await daemon.audit.last(9)
    assert record["detail"] == {"keys": [mark("s3cret")], "forgotten": 1}


@pytest.mark.parametrize(("method", "path", "query", "body", "expected"), [
    ("GET", "/limits/peer-ip", {}, b"", (404, "PXD-225")),
    ("POST", "/limits/peer-ip/reset", {}, b"", (404, "PXD-225")),
    ("GET", "/limits/all", {"key": "one"}, b"", (400, "PXD-226")),
    ("POST", "/limits/in/reset", {}, b"", (409, "PXD-227")),
    ("POST", "/limits/all/reset", {}, b'{"key": 1}', (400, "PXD-244")),
    ("POST", "/limits/all/reset", {}, b'{"key": [1]}', (400, "PXD-244")),
])
async def test_what_cannot_be(ask: Ask, method: str, path: str, query: Any, body: bytes, expected: tuple[int, str]) -> None:
    with pytest.raises(Refused) as refusal:
        await ask(method, path, query=query, body=body)
    assert (refusal.value.status, refusal.value.code) == expected
