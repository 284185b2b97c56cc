from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from proxyd.admin import guard
from proxyd.admin.client import Answer, NotPermitted, Refused
from proxyd.admin.server import AdminServer
from proxyd.diagnostics import Diagnostic
from proxyd.snapshot.explain import Question
from proxyd.snapshot.explain_flow import FlowQuestion
from tests.proxyd.admin.fake_daemon import FakeDaemon

Ask = Callable[..., Awaitable[Answer]]


async def test_the_index_lists_only_what_is_there(ask: Ask, daemon: FakeDaemon) -> None:
    daemon.flight.on_records([{"time": "", "id": "one"}])
    paths = (await ask("GET", "")).json()
    assert {(entry["method"], entry["path"]) for entry in paths} >= {("GET", "/api/v1/status"), ("POST", "/api/v1/config")}
    for entry in paths:
        if entry["method"] == "GET":
            query = {"url": "http://h/"} if "url=URL" in entry["summary"] else None
            path = entry["path"].removeprefix("/api/v1").replace("{id:.+}", "one").format(upstream="app", policy="per-ip", number=5)
            answer = await ask("HEAD" if path.endswith("/stream") else "GET", path, query=query)      # a stream has no end
            assert answer.status == 200
            assert entry["summary"]


async def test_status(ask: Ask) -> None:
    status = (await ask("GET", "/status")).json()
    assert (status["version"], status["pid"], status["phase"]) == ("0.1.0", 4242, "serving")
    assert status["listeners"][0]["rejected"] == {"per_client": 3}
    assert [server["state"] for server in status["upstreams"][0]["servers"]] == ["up", "down"]
    assert status["upstreams"][0]["servers"][0]["checks"][0]["result"] == "passed"
    assert status["engines"][0]["heartbeat"] == 99


async def test_listeners_routes_and_upstreams(ask: Ask) -> None:
    assert (await ask("GET", "/listeners")).json()[0]["address"] == "127.0.0.1:8080"
    assert (await ask("GET", "/routes")).json()[0]["action"] == "to app"
    assert (await ask("GET", "/upstreams")).json()[0]["servers"][1]["reason"] == "connection refused"


async def test_ready_and_not_ready(ask: Ask, daemon: Any) -> None:
    assert (await ask("GET", "/ready")).json() == {"ready": True, "reasons": []}
    daemon.reasons = ("upstream app has no usable server",)
    answer = await ask("GET", "/ready", accept=frozenset({503}))
    assert answer.status == 503
    assert answer.json() == {"ready": False, "reasons": ["upstream app has no usable server"]}


@pytest.mark.parametrize("path", ["/ready", "/live", "/metrics"])
async def test_probes_and_scrapes_at_the_root_and_by_head(path: str, server: AdminServer) -> None:
    async with aiohttp.ClientSession(f"http://{server.addresses[1]}") as session:
        for method in ("GET", "HEAD"):
            for prefix in ("", "/api/v1"):
                async with session.request(method, prefix + path) as answer:
                    assert answer.status == 200
                    assert bool(await answer.read()) is (method == "GET")


async def test_live_and_not_live(ask: Ask, daemon: Any) -> None:
    assert (await ask("GET", "/live")).status == 200
    daemon.engine_alive = False
    answer = await ask("GET", "/live", accept=frozenset({503}))
    assert answer.json() == {"live": False, "dead_engines": [0]}


async def test_metrics_can_be_parsed(ask: Ask) -> None:
    answer = await ask("GET", "/metrics")
    families = {family.name: family for family in text_string_to_metric_families(answer.body.decode())}
    assert families["proxyd_log_dropped"].samples[0].value == 0
    assert families["proxyd_build_info"].samples[0].labels["version"] == "0.1.0"
    assert families["process_resident_memory_bytes"].samples[0].value > 0


async def test_the_schema_is_one(ask: Ask) -> None:
    answer = await ask("GET", "/schema.json")
    assert answer.content_type == "application/schema+json"
    assert "upstreams" in answer.json()["properties"]


async def test_views_of_the_config(ask: Ask, daemon: Any) -> None:
    file = (await ask("GET", "/config")).json()
    assert (file["view"], file["text"], file["hash"], file["generation"]) == ("file", daemon.config_text, "abc123", 4)
    running = yaml.safe_load((await ask("GET", "/config", query={"view": "running"})).json()["text"])
    full = yaml.safe_load((await ask("GET", "/config", query={"view": "full"})).json()["text"])
    assert running["listeners"] == {"default": {"bind": [":8080"]}}
    assert full["listeners"]["default"]["limits"]["header_count"] == 100
    with pytest.raises(Refused, match="running"):
        await ask("GET", "/config", query={"view": "naked"})


async def test_a_reload_of_the_own_file(ask: Ask, daemon: Any) -> None:
    result = (await ask("POST", "/config")).json()
    assert daemon.asked == [("reload", None, None, False)]
    assert (result["ok"], result["changed"], result["generation"], result["config_hash"]) == (True, True, 5, "def456")
    assert result["plan"][0] == {"kind": "added", "thing": "route", "name": "web/new", "text": "route web/new: to app", "live": True}


@pytest.mark.parametrize(("query", "dry_run"), [
    ({"dry_run": "1"}, True), ({"dry_run": ""}, True), ({"dry_run": "true"}, True), ({"dry_run": "0"}, False), ({}, False),
])
async def test_a_reload_of_a_posted_text(ask: Ask, daemon: Any, query: dict[str, str], dry_run: bool) -> None:
    await ask("POST", "/config", body=b"listen: :1\n", content_type="application/yaml", query=query)
    assert daemon.asked == [("reload", "listen: :1\n", None, dry_run)]


async def test_a_reload_of_another_file(ask: Ask, daemon: Any) -> None:
    await ask("POST", "/config", query={"path": "/etc/other.yaml"})
    assert daemon.asked == [("reload", None, Path("/etc/other.yaml"), False)]


@pytest.mark.parametrize(("query", "body", "words"), [
    ({"path": "relative.yaml"}, b"", "must be absolute"),
    ({"path": "/x"}, b"listen: :1", "not both"),
    ({"dry_run": "perhaps"}, b"", "dry_run"),
    ({}, b"\xff\xfe", "not UTF-8"),
])
async def test_what_cannot_be_meant(ask: Ask, daemon: Any, query: dict[str, str], body: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words) as refusal:
        await ask("POST", "/config", query=query, body=body)
    assert (refusal.value.status, refusal.value.code) == (400, "PXD-244")
    assert daemon.asked == []


async def test_a_refused_reload_gives_back_the_diagnostics(ask: Ask, daemon: Any, unknown_key: Diagnostic) -> None:
    daemon.refusal = (unknown_key,)
    with pytest.raises(Refused) as refusal:
        await ask("POST", "/config")
    assert (refusal.value.status, refusal.value.code) == (422, "PXD-247")
    found = refusal.value.diagnostics[0]
    assert (found["code"], found["file"], found["line"], found["column"]) == ("PXD-021", "proxyd.yaml", 2, 1)
    assert "^^^" in found["rendered"]
    assert refusal.value.problem["generation"] == 4


async def test_check_of_a_posted_text(ask: Ask) -> None:
    right = (await ask("POST", "/check", body=b"listen: :8080\nto: [127.0.0.1:9001]\n")).json()
    assert right == {"ok": True, "errors": 0, "warnings": 0, "diagnostics": []}
    wrong = (await ask("POST", "/check", body=b"listen: :8080\nto: [127.0.0.1:9001]\ntoo: x\n")).json()
    assert (wrong["ok"], wrong["errors"]) == (False, 1)
    assert (wrong["diagnostics"][0]["code"], wrong["diagnostics"][0]["line"]) == ("PXD-021", 3)


async def test_check_of_the_own_text_and_file(ask: Ask, daemon: Any, tmp_path: Path) -> None:
    daemon.config_path = None
    assert (await ask("POST", "/check")).json()["ok"]
    daemon.config_path = tmp_path / "gone.yaml"
    assert (await ask("POST", "/check")).json()["diagnostics"][0]["code"] == "PXD-001"


async def test_explain_a_flow(ask: Ask, daemon: Any) -> None:
    body = b'{"url": "tls://a.example:8443", "client": "::1", "listener": "pg", "alpn": ["h2"]}'
    decision, = (await ask("POST", "/route/explain", body=body)).json()
    assert daemon.asked == [("explain_flow", FlowQuestion("tls", "a.example", 8443, "", "::1", "pg", ("h2",)))]
    assert (decision["route"], decision["mode"]) == ("pg", "tcp")


async def test_explain(ask: Ask, daemon: Any) -> None:
    body = b'{"method": "post", "url": "http://shop.example:80/a?b=c", "client": "::1", "listener": "web", "headers": [["X-A", " 1"]]}'
    decisions = (await ask("POST", "/route/explain", body=body)).json()
    assert daemon.asked == [("explain", Question("POST", "shop.example", "/a", "::1", "web", (("X-A", "1"),), "b=c", "80"))]
    assert decisions[0]["why_not"] == [["shop", ["host"]]]


@pytest.mark.parametrize(("body", "words"), [
    (b"{}", "`url` is missing"),
    (b"[]", "JSON object"),
    (b"{", "not JSON"),
    (b'{"url": 5}', "must be text"),
    (b'{"url": "/", "method": "G T"}', "not a method"),
    (b'{"url": "/", "client": "me"}', "`me` is not an IP address"),
    (b'{"url": "/", "headers": {"a": "b"}}', "list of pairs"),
    (b'{"url": "/", "headers": [["a"]]}', "list of pairs"),
    (b'{"url": "/", "headers": [["a b", "c"]]}', "not the name of a field"),
    (b'{"url": "/", "headers": [["a", "b\\nc"]]}', "line break"),
    (b'{"url": "tcp://nowhere:1"}', "not an address of this machine"),
    (b'{"url": "tls://a", "alpn": "h2"}', "list of texts"),
    (b'{"url": "tls://a", "alpn": [""]}', "not the name of a protocol"),
    (b'{"url": "tcp://:1", "client": "me"}', "`me` is not an IP address"),
])
async def test_questions_that_are_none(ask: Ask, body: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words) as refusal:
        await ask("POST", "/route/explain", body=body)
    assert refusal.value.code == "PXD-244"


async def test_upgrade(ask: Ask, daemon: Any) -> None:
    answer = await ask("POST", "/upgrade")
    assert answer.json() == {"pid": 4243, "predecessor": 4242, "seconds": 0.5}
    daemon.upgrade_fails = True
    with pytest.raises(Refused, match="ended before it served: exit code 1; the old one serves on") as caught:
        await ask("POST", "/upgrade")
    assert (caught.value.status, caught.value.code) == (409, "PXD-280")
    assert caught.value.problem["output"] == "ImportError: no such thing"


@pytest.mark.parametrize(("body", "now"), [(b"", False), (b'{"now": true}', True)])
async def test_stop(ask: Ask, daemon: Any, body: bytes, now: bool) -> None:
    answer = await ask("POST", "/stop", body=body)
    assert answer.status == 202
    assert daemon.asked == [("stop", now)]


async def test_a_body_has_a_bound(server: AdminServer, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused) as refusal:
        await ask("POST", "/check", body=b" " * (16 * 1024 * 1024 + 1))
    assert (refusal.value.status, refusal.value.code) == (413, "PXD-245")


async def test_the_client_tells_a_wrong_user_from_other_refusals(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    known = guard.check_uid
    monkeypatch.setattr("os.geteuid", lambda: 54321)
    monkeypatch.setattr("proxyd.admin.guard.check_uid", lambda uid: known(uid or 54322))
    with pytest.raises(NotPermitted, match="54321"):
        await ask("GET", "/status")
