"""The store that several proxies share for limits with `scope: cluster`."""

from __future__ import annotations

from proxyd.config.base import Model


class SharedLimits(Model):
    """Owner: cluster."""
