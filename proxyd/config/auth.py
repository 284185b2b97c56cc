"""The policy `auth`: one of its kinds."""

from __future__ import annotations

from proxyd.config.base import Model


class Auth(Model):
    """Owner: keys."""


AuthField = Auth
