"""The policy `rate_limit`."""

from __future__ import annotations

from proxyd.config.base import Model


class RateLimit(Model):
    """Owner: limits."""


RateLimitField = RateLimit
