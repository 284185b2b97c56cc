from __future__ import annotations

import pytest

from proxyd.config.access import Access
from tests.support.config import config_of, first_finding

POLICY = "listen: ':1'\nroutes: [{to: ['a:1'], use: p}]\npolicies: {p: {access: "


def access(text: str) -> Access:
    found = config_of(f"{POLICY}{text}}}}}").policies["p"].access
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "default"),
    [
        ("{allow: 10.0.0.0/8}", False),
        ("{deny: 10.0.0.0/8}", True),
        ("{allow: 10.0.0.0/8, deny: all}", False),
        ("{deny: 10.0.0.0/8, allow: all}", True),
        ("{allow: 10.0.0.0/8, deny: 10.1.0.0/16}", False),
    ],
)
def test_what_becomes_of_others(text: str, default: bool) -> None:
    assert access(text).default_allow is default


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", ("PXD-022", 1)),
        ("{allow: 10.0.0.1/8}", ("PXD-038", 9)),
        ("{allow: [all, 10.0.0.0/8], deny: [10.0.0.0/8]}", ("PXD-039", 34)),
        ("{allow: 'country:SWE'}", ("PXD-038", 9)),
        ("{allow: 'country:'}", ("PXD-038", 9)),
        ("{allow: [10.0.0.0/8, 'country:S1']}", ("PXD-038", 22)),
        ("{allow: 'country:UK'}", ("PXD-038", 9)),
        ("{allow: [{country: SE}]}", ("PXD-030", 10)),
        ("{allow: Sweden}", ("PXD-038", 9)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    assert first_finding(f"{POLICY}\n{text}}}}}\n") == (expected[0], 4, expected[1])
