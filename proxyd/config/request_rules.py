"""The policy `request`: what a request may be."""

from __future__ import annotations

from proxyd.config.base import Model


class RequestRules(Model):
    """Owner: access."""
