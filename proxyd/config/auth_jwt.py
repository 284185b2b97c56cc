"""The policy `auth: {jwt: ...}`."""

from __future__ import annotations

from proxyd.config.base import Model


class Jwt(Model):
    """Owner: jwt."""
