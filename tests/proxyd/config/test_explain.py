from __future__ import annotations

import pytest

from proxyd.config.explain import explain, explain_code, find, suggest


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("upstreams.api.health.active.interval", "upstreams.NAME.health.active[].interval"),
        ("upstreams.api.servers[0].address", "upstreams.NAME.servers[].address"),
        ("upstreams.NAME.servers.address", "upstreams.NAME.servers[].address"),
        ("routes[3].timeout.total", "routes[].timeout.total"),
        ("listeners.web.routes[0].to", "listeners.NAME.routes[].to"),
        ("log", "log"),
    ],
)
def test_options_by_path(text: str, path: str) -> None:
    assert {option.path for option in explain(text)} == {path}


@pytest.mark.parametrize("text", ["", "nope", "upstreams.a.b.c", "log.level.x", "..", "[]"])
def test_paths_that_lead_nowhere(text: str) -> None:
    assert explain(text) == []


def test_options_by_the_end_of_their_path() -> None:
    assert [option.path for option in find("interval")] == ["upstreams.NAME.health.active[].interval", "concurrency.interval"]
    assert [option.path for option in find("interval_down")] == ["upstreams.NAME.health.active[].interval_down"]
    assert "routes[].timeout.connect" in [option.path for option in find("timeout.connect")]
    assert [option.path for option in find("log")] == ["log"]
    assert find("") == find("nope") == []


def test_suggestions() -> None:
    assert suggest("upstreams.app.blance") == "upstreams.NAME.balance"
    assert suggest("intervl_down") == "upstreams.NAME.health.active[].interval_down"
    assert suggest("zzzzzzzz") is None
    assert suggest("") is None


def test_codes() -> None:
    for text in ("PXD-021", "pxd-021", "021", "21", "pxd21"):
        code = explain_code(text)
        assert code is not None
        assert code.title == "unknown option"
    for text in ("PXD-999", "", "PXD", "x21"):
        assert explain_code(text) is None
