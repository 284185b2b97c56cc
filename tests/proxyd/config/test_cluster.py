from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec

import pytest

from proxyd.config import load_text
from proxyd.config.cluster import SharedLimits
from tests.support.config import config_of, first_finding

REST = "listen: ':1'\nto: ['a:1']\nlimits:\n"


def shared(text: str) -> SharedLimits:
    found = config_of(f"{REST}  {text}\n").limits
    assert found is not None
    return found


def test_what_holds_without_a_word() -> None:
    found = shared("{redis: 'redis://a'}")
    assert found.redis is not None
    assert (found.redis.url, found.prefix, found.timeout, found.sync, found.lease, found.nodes) == (
        "redis://a:6379/0", "proxyd:", 100, 100, "auto", "auto")


def test_numbers() -> None:
    found = shared("{redis: 'unix:/run/redis.sock', lease: 5, nodes: '3', sync: 1s}")
    assert (found.lease, found.nodes, found.sync) == (5, 3, 1000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", ("PXD-022", 3)),
        ("{prefix: a}", ("PXD-022", 3)),
        ("{redis: 'a:1'}", ("PXD-035", 11)),
        ("{redis: 'redis://a', prefix: 'a b'}", ("PXD-038", 32)),
        ("{redis: 'redis://a', timeout: 1m}", ("PXD-033", 33)),
        ("{redis: 'redis://a', sync: 100}", ("PXD-031", 30)),
        ("{redis: 'redis://a', lease: 0}", ("PXD-033", 31)),
        ("{redis: 'redis://a', lease: some}", ("PXD-034", 31)),
        ("{redis: 'redis://a', nodes: 1.5}", ("PXD-030", 31)),
        ("{redis: 'redis://a', nodes: 1001}", ("PXD-033", 31)),
        ("{redis: 'redis://a', node: 3}", ("PXD-021", 24)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    assert first_finding(f"{REST}  {text}\n") == (expected[0], 4, expected[1])


def test_without_the_client_library(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "redis" else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    [item] = load_text(f"{REST}  redis: 'redis://a'\n", env={}).diagnostics
    assert (item.code, item.help) == ("PXD-040", "run: pip install 'proxyd[redis]'")
