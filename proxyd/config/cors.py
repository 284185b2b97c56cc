"""The policy `cors`."""

from __future__ import annotations

from proxyd.config.base import Model


class Cors(Model):
    """Owner: access."""


CorsField = Cors
