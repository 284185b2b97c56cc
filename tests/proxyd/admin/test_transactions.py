"""Reloads on trial, rollbacks and the history, over the admin API."""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from proxyd.admin.client import Answer, Refused

Ask = Callable[..., Awaitable[Answer]]


async def test_a_reload_on_trial(ask: Ask, daemon: Any) -> None:
    facts = (await ask("POST", "/config", query={"guard": "errors > 2%", "confirm": "2m"})).json()
    assert daemon.asked == [("reload", None, None, False, "guard errors > 2% for 30s, to be confirmed within 2m")]
    assert (facts["trial"]["entry"], facts["trial"]["back_to"], facts["summary"]) == (6, 5, "1 route added, 3 connections will drain")
    entry = (await ask("POST", "/config/confirm")).json()
    assert (entry["number"], entry["result"]) == (6, "serving")
    with pytest.raises(Refused) as caught:
        await ask("POST", "/config/confirm")
    assert (caught.value.status, caught.value.code) == (404, "PXD-252")


@pytest.mark.parametrize(("query", "code", "detail"), [
    ({"guard": "errors > 2"}, "PXD-253", "guard: expected a percentage, got `2`"),
    ({"confirm": "2"}, "PXD-244", "confirm is `2`"),
    ({"confirm": "100h"}, "PXD-244", "it may be a duration of 1s to"),
])
async def test_terms_that_are_none(ask: Ask, daemon: Any, query: dict[str, str], code: str, detail: str) -> None:
    with pytest.raises(Refused) as caught:
        await ask("POST", "/config", query=query)
    assert (caught.value.status, caught.value.code) == (400, code)
    assert detail in str(caught.value)
    assert daemon.asked == []
    assert ("rendered" in caught.value.problem) is (code == "PXD-253")


async def test_rollbacks(ask: Ask, daemon: Any) -> None:
    assert (await ask("POST", "/config/rollback")).json()["restores"] == 4
    assert (await ask("POST", "/config/rollback/5")).json()["restores"] == 5
    assert daemon.asked == [("rollback", None, "rollback"), ("rollback", 5, "rollback")]
    with pytest.raises(Refused) as caught:
        await ask("POST", "/config/rollback/99")
    assert (caught.value.status, caught.value.code) == (404, "PXD-250")
    for number in ("0", "x", "9" * 30):
        with pytest.raises(Refused, match="not the number of an entry"):
            await ask("POST", f"/config/rollback/{number}")


async def test_a_rollback_that_is_refused(ask: Ask, daemon: Any, unknown_key: Any) -> None:
    daemon.refusal = (unknown_key,)
    with pytest.raises(Refused, match="the rollback failed, and what served before serves on") as caught:
        await ask("POST", "/config/rollback/4")
    assert (caught.value.status, caught.value.code) == (422, "PXD-247")


async def test_the_history(ask: Ask, daemon: Any) -> None:
    assert [entry["number"] for entry in (await ask("GET", "/config/history")).json()] == [5, 4]
    entry = (await ask("GET", "/config/history/4")).json()
    assert (entry["result"], entry["files"]) == ("served", {"/etc/proxyd/proxyd.yaml": daemon.config_text})
    with pytest.raises(Refused) as caught:
        await ask("GET", "/config/history/9")
    assert caught.value.status == 404


async def test_what_differs_is_told_with_what_serves(ask: Ask, daemon: Any) -> None:
    await ask("POST", "/config/rollback")
    facts = (await ask("GET", "/config/diff")).json()
    assert facts["summary"] == "1 server changed, no connection will drain"
    assert (facts["serving"]["restores"], facts["serving"]["file_differs"]) == (4, True)
