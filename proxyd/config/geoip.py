"""Where addresses are: a MaxMind database."""

from __future__ import annotations

from proxyd.config.base import Model


class GeoIp(Model):
    """Owner: access."""


GeoIpField = GeoIp
