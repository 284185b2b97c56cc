from __future__ import annotations

from proxyd.snapshot.build_policies import build_policy
from proxyd.snapshot.handles import Handles, HandleStore
from proxyd_ext.snapshot.spec import BanFilter
from tests.support.config import config_of


def built(store: HandleStore, text: str) -> BanFilter:
    config = config_of(f"{{listen: ':1', routes: [{{respond: 200, use: p}}], policies: {{p: {{ban: {text}}}}}}}")
    [ban] = build_policy(config, Handles(store), "p", config.policies["p"])
    assert isinstance(ban, BanFilter)
    return ban


def test_the_banned_stay_so_unless_the_policy_is_another_one() -> None:
    store = HandleStore()
    first = built(store, "{after: 5, ipv6: 56}")
    assert (first.policy, first.ipv4_bits, first.ipv6_bits, first.bans.name) == ("p", 32, 56, "p")
    assert built(store, "{ipv6: 56, after: 5, within: 60s}").bans is first.bans
    for text in ("{after: 6, ipv6: 56}", "{after: 5}", "{after: 5, ipv6: 56, for: 1m}", "{after: 5, ipv6: 56, keys: 1000}"):
        assert built(store, text).bans is not first.bans
