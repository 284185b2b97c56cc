"""Policies that every config has. One of the same name in the file takes the place of ours."""

from __future__ import annotations

from proxyd.config.access import Access
from proxyd.config.policies import Policy
from proxyd.config.rate_limit import RateLimit
from proxyd.config.units import RequestRate

BUILT_IN: dict[str, Policy] = {
    "per-ip": Policy(rate_limit=RateLimit(rate=RequestRate("20/s"), burst=40)),
    "public": Policy(access=Access(allow=("all",))),  # says that a route is open, where `defaults.access` is `deny`
}
