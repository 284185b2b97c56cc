"""The shared tier: a second, slower cache behind the memory of this process, which several nodes share (Redis or Memcached).

`Sharing` is what the daemon uses, `Link` what stands under it (and under `proxyd.aside`). See README.md.
"""
from proxyd.cachetier.counters import TierCounters
from proxyd.cachetier.link import Link
from proxyd.cachetier.settings import TierSettings
from proxyd.cachetier.sharing import Sharing
from proxyd.cachetier.tier import MissingExtra

__all__ = ["Link", "MissingExtra", "Sharing", "TierCounters", "TierSettings"]
