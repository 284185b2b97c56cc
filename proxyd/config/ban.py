"""The policy `ban`."""

from __future__ import annotations

from proxyd.config.base import Model


class Ban(Model):
    """Owner: access."""
