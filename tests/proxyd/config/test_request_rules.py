from __future__ import annotations

import pytest

from proxyd.config.request_rules import RequestRules
from tests.support.config import config_of, first_finding

POLICY = "listen: ':1'\nroutes: [{to: ['a:1'], use: p}]\npolicies: {p: {request: "


def rules(text: str) -> RequestRules:
    found = config_of(f"{POLICY}{text}}}}}").policies["p"].request
    assert found is not None
    return found


def test_head_comes_with_get() -> None:
    assert rules("{methods: GET}").served == {"GET", "HEAD"}
    assert rules("{methods: [POST, PUT]}").served == {"POST", "PUT"}
    assert rules("{methods: HEAD}").served == {"HEAD"}
    assert rules("{body_size: 1MiB}").served == frozenset()


def test_sizes() -> None:
    assert int(rules("{body_size: 1MiB}").body_size) == 1 << 20
    assert int(rules("{methods: GET, body_size: none}").body_size) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", ("PXD-022", 1)),
        ("{body_size: none}", ("PXD-022", 1)),
        ("{methods: []}", ("PXD-022", 1)),
        ("{methods: get}", ("PXD-034", 11)),
        ("{methods: [GET, GTE]}", ("PXD-034", 17)),
        ("{methods: [TRACE]}", ("PXD-034", 12)),
        ("{methods: [GET, GET]}", ("PXD-025", 17)),
        ("{body_size: 10}", ("PXD-031", 13)),
        ("{body_size: 9TiB}", ("PXD-033", 13)),
        ("{method: GET}", ("PXD-021", 2)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    assert first_finding(f"{POLICY}\n{text}}}}}\n") == (expected[0], 4, expected[1])
