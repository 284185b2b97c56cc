"""Usage plans of API keys, and where usage is kept."""

from __future__ import annotations

from proxyd.config.base import Model


class UsagePlan(Model):
    """Owner: keys."""


class Usage(Model):
    """Owner: keys."""


UsageField = Usage
