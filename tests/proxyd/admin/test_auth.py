from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from proxyd.admin.client import Answer, Refused

Ask = Callable[..., Awaitable[Answer]]


async def test_policies(ask: Ask, daemon: Any) -> None:
    assert (await ask("GET", "/auth")).json() == {"policies": []}
    daemon.limited = True
    found = (await ask("GET", "/auth")).json()["policies"]
    assert [(one["policy"], one["kind"], one["entries"], one["keys"][:1]) for one in found] == [
        ("sso", "jwt", 12, found[0]["keys"]), ("partners", "api_key", 0, []),
    ]


async def test_usage(ask: Ask, daemon: Any) -> None:
    assert (await ask("GET", "/auth/usage")).json() == {"consumers": [], "file": None}
    daemon.limited = True
    assert (await ask("GET", "/auth/usage")).json()["consumers"] == [{"name": "acme", "period": "month", "used": 24_000}]


@pytest.mark.parametrize(("body", "user", "forgotten"), [
    (b'{"policy": "sso"}', None, 12), (b'{"policy": "sso", "user": "ann"}', "ann", 1),
])
async def test_a_revocation_leaves_one_audit_record(ask: Ask, daemon: Any, body: bytes, user: str | None, forgotten: int) -> None:
    assert (await ask("POST", "/auth/revoke", body=body)).json() == {"forgotten": forgotten}
    assert daemon.asked == [("revoke", "sso", user)]
    record, = await daemon.audit.last(9)
    assert (record["action"], record["target"]) == ("auth.revoke", "sso")
    assert record["detail"] == {"user": user or "everybody", "forgotten": forgotten}


@pytest.mark.parametrize(("body", "expected"), [
    (b"", (400, "PXD-244")), (b'{"policy": 1}', (400, "PXD-244")), (b'{"policy": "nobody"}', (404, "PXD-292")),
])
async def test_what_is_refused(ask: Ask, body: bytes, expected: tuple[int, str]) -> None:
    with pytest.raises(Refused) as caught:
        await ask("POST", "/auth/revoke", body=body)
    assert (caught.value.status, caught.value.code) == expected
