"""When proxyd sheds requests to protect itself."""

from __future__ import annotations

from proxyd.config.base import Model


class Overload(Model):
    """Owner: limits."""


OverloadField = Overload
