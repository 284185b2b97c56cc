"""nginx's smooth weighted round robin, step by step (commit 52327e0, `ngx_http_upstream_get_peer`), for servers that never fail."""

from __future__ import annotations

from collections.abc import Sequence


def smooth(weights: Sequence[int], count: int) -> list[int]:
    """The first `count` picks, as indexes into `weights`."""
    credit = [0] * len(weights)
    total = sum(weights)
    out = []
    for _ in range(count):
        best = 0
        for i, weight in enumerate(weights):
            credit[i] += weight
            if credit[i] > credit[best]:
                best = i
        credit[best] -= total
        out.append(best)
    return out
