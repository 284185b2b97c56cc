from __future__ import annotations

from proxyd.gateway.consumers import Consumers


def test_one_handle_a_name_and_kind_of_period() -> None:
    consumers = Consumers()
    assert consumers.get("shop", "day") is consumers.get("shop", "day")
    assert consumers.get("shop", "day") is not consumers.get("shop", "month")
    assert consumers.get("shop", "day") is not consumers.get("bank", "day")


def test_usage_from_disk_waits_for_whom_it_names() -> None:
    consumers = Consumers()
    consumers.restore(("day", "shop"), 20_000, 7, on_top=True)
    assert list(consumers.usage()) == [(("day", "shop"), 20_000, 7)]
    assert consumers.get("shop", "month").usage() == (0, 0)
    assert consumers.get("shop", "day").usage() == (20_000, 7)
    assert list(consumers.usage()) == [(("day", "shop"), 20_000, 7)]


def test_usage_from_disk_that_comes_late() -> None:
    consumers = Consumers()
    shop = consumers.get("shop")
    shop.set_usage(20_000, 3)
    consumers.restore(("day", "shop"), 20_000, 7, on_top=True)
    assert shop.usage() == (20_000, 10)
    consumers.restore(("day", "shop"), 20_000, 7, on_top=False)      # what was read before is part of what is counted
    assert shop.usage() == (20_000, 10)
    consumers.restore(("day", "shop"), 20_000, 12, on_top=False)
    assert shop.usage() == (20_000, 12)
    consumers.restore(("day", "shop"), 19_999, 99, on_top=True)      # a period that has ended
    assert shop.usage() == (20_000, 12)
