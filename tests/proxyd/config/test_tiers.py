from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec

import pytest

from proxyd.config import load_text
from proxyd.config.address import Address
from proxyd.config.model import Shared
from proxyd.config.units import Duration
from tests.support.config import config_of, first_finding

ROUTE = "listen: ':1'\nroutes: [{to: ['a:1'], cache: on}]\ncache: {shared: "


def shared(text: str) -> Shared:
    found = config_of(f"{ROUTE}{text}}}").cache.shared
    assert found is not None
    return found


def test_short_forms() -> None:
    assert shared("'redis://a'") == shared("{redis: 'redis://a'}")
    assert shared("'a:11211'") == shared("{memcached: 'a:11211'}")
    assert shared("['a:1', 'b:1']") == shared("{memcached: ['a:1', 'b:1']}")
    assert shared("'unix:/run/m.sock'").memcached == (Address(path="/run/m.sock"),)


def test_what_holds_without_a_word() -> None:
    found = shared("'a:1'")
    assert (found.prefix, found.timeout, found.circuit.failures, found.circuit.open_for) == ("proxyd:", 50, 5, Duration("5s"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", ("PXD-022", 1)),
        ("{prefix: a}", ("PXD-022", 1)),
        ("{redis: 'redis://a', memcached: 'a:1'}", ("PXD-024", 22)),
        ("{memcached: a}", ("PXD-035", 13)),
        ("{memcached: []}", ("PXD-022", 1)),
        ("['a:1', b]", ("PXD-035", 1)),
        ("localhost", ("PXD-035", 1)),
        ("{redis: 'a:1'}", ("PXD-035", 9)),
        ("{memcached: 'a:1', prefix: 'a b'}", ("PXD-038", 28)),
        ("{memcached: 'a:1', timeout: 1m}", ("PXD-033", 29)),
        ("{memcached: 'a:1', circuit: {failures: 0}}", ("PXD-033", 40)),
        ("{memcached: 'a:1', circuit: {open: 5s}}", ("PXD-021", 30)),
        ("{memcached: 'a:1', max_object: 1B}", ("PXD-033", 32)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    assert first_finding(f"{ROUTE}\n{text}}}\n") == (expected[0], 4, expected[1])


@pytest.mark.parametrize(("text", "missing"), [("{redis: 'redis://a'}", "redis"), ("{memcached: 'a:1'}", "emcache")])
def test_a_client_library_that_is_not_installed(text: str, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == missing else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    [item] = load_text(f"{ROUTE}\n{text}}}\n", env={}).diagnostics
    assert item.span is not None
    assert (item.code, item.span.line, item.span.column) == ("PXD-040", 3, 1)
    assert item.help.startswith("run: pip install 'proxyd[")
