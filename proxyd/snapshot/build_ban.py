"""`ban`, as the engines take it."""
from __future__ import annotations

from typing import TYPE_CHECKING

from proxyd_ext.limit.ban import Bans
from proxyd_ext.snapshot.spec import BanFilter

if TYPE_CHECKING:
    from proxyd.config.ban import Ban
    from proxyd.snapshot.handles import Handles

US_PER_MS = 1000


def build_ban(handles: Handles, name: str, ban: Ban) -> BanFilter:
    """Who is banned stays so over reloads, unless the policy is another one then."""
    within_us, for_us = int(ban.within) * US_PER_MS, int(ban.lasts) * US_PER_MS

    def new() -> Bans:
        return Bans(name, after=ban.after, within_us=within_us, for_us=for_us, capacity=ban.keys)

    bans = handles.get("bans", name, (ban.after, within_us, for_us, ban.ipv4, ban.ipv6, ban.keys), new)
    return BanFilter(name, bans, ipv4_bits=ban.ipv4, ipv6_bits=ban.ipv6)
