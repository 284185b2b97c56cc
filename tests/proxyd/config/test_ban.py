from __future__ import annotations

import pytest

from proxyd.config.ban import Ban
from proxyd.config.canonical import canonical
from tests.support.config import config_of, first_finding

POLICY = "listen: ':1'\nroutes: [{to: ['a:1'], use: p}]\npolicies: {p: {ban: "


def ban(text: str) -> Ban:
    found = config_of(f"{POLICY}{text}}}}}").policies["p"].ban
    assert found is not None
    return found


def test_times() -> None:
    assert ban("{after: 5, within: 10s, for: 1h}").lasts == 3_600_000
    assert canonical(ban("{}")) == {"after": 20, "within": "1m", "for": "10m", "ipv4": 32, "ipv6": 64, "keys": 100_000}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{after: 0}", ("PXD-033", 9)),
        ("{after: many}", ("PXD-030", 9)),
        ("{within: 10}", ("PXD-031", 10)),
        ("{within: 2d}", ("PXD-033", 10)),
        ("{for: 1ms}", ("PXD-033", 7)),
        ("{for: none}", ("PXD-032", 7)),
        ("{ipv4: 33}", ("PXD-033", 8)),
        ("{ipv6: 0}", ("PXD-033", 8)),
        ("{keys: 1}", ("PXD-033", 8)),
        ("{form: 1m}", ("PXD-021", 2)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    assert first_finding(f"{POLICY}\n{text}}}}}\n") == (expected[0], 4, expected[1])
