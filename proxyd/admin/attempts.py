"""How often an address may try a password: a bucket for each, so that guessing takes as long as it should."""
from __future__ import annotations

from collections import OrderedDict

from proxyd.clock import Clock
from proxyd.gateway.passwords import network_of

BURST = 10              # wrong passwords at once
SECONDS_EACH = 6.0      # until one more is granted
ADDRESSES_MAX = 4096    # remembered; the one that tried least recently is forgotten


class Attempts:
    """Each bucket is the time at which it will be full again (GCRA), so that an address at rest needs no entry."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, client: str) -> float:
        """Take one attempt: 0.0. Or none, and the seconds until there is one."""
        now, client = self._clock.monotonic(), network_of(client)
        full_at = max(self._full_at.get(client, now), now) + SECONDS_EACH
        wait = full_at - now - BURST * SECONDS_EACH
        if wait > 0:
            return wait
        self._full_at[client] = full_at
        self._full_at.move_to_end(client)
        if len(self._full_at) > ADDRESSES_MAX:
            self._full_at.popitem(last=False)
        return 0.0

    def give_back(self, client: str) -> None:
        """The password was right: one that knows it may use it as often as it likes."""
        client = network_of(client)
        if client in self._full_at:
            self._full_at[client] -= SECONDS_EACH
