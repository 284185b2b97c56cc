from __future__ import annotations

import sys

import pytest

from proxyd.cachetier import MissingExtra, TierSettings
from proxyd.cachetier.tier import Order, WrongAnswer, digest, open_tier
from tests.support.clock import FakeClock


@pytest.mark.parametrize("settings", [{}, {"redis": "redis://a", "memcached": "a:1"}])
def test_one_server_is_named(settings: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="one of redis and memcached"):
        TierSettings(settings.get("redis", ""), settings.get("memcached", ""))


@pytest.mark.parametrize(("name", "settings"), [
    ("redis", TierSettings(redis="redis://127.0.0.1")), ("memcached", TierSettings(memcached="127.0.0.1:1")),
])
def test_a_client_that_is_not_installed(name: str, settings: TierSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, f"proxyd.cachetier.{name}_tier", None)
    with pytest.raises(MissingExtra, match=rf"pip install 'proxyd\[{name}\]'"):
        open_tier(settings, FakeClock())


@pytest.mark.parametrize("settings", [
    TierSettings(redis="http://127.0.0.1"), TierSettings(memcached="localhost"), TierSettings(memcached="127.0.0.1:1,127.0.0.1:x"),
])
def test_an_address_that_is_none(settings: TierSettings) -> None:
    with pytest.raises(ValueError, match=r"redis://|HOST:PORT"):
        open_tier(settings, FakeClock())


def test_orders() -> None:
    order = Order("tag", "ü\n", True, "node")
    assert Order.decode(order.encode()) == order


@pytest.mark.parametrize("raw", [b"", b"7", b"[]", b'["tag", 7, false, "n"]', b'["some", "t", false, "n"]', b"[" * 100_000])
def test_what_is_no_order(raw: bytes) -> None:
    with pytest.raises(WrongAnswer, match="the log of purges holds"):
        Order.decode(raw)


def test_digests_tell_parts_apart() -> None:
    assert len({digest(b"ab"), digest(b"a", b"b"), digest(b"", b"ab"), digest(b"ab", b"")}) == 4
