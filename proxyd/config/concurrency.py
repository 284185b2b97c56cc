"""Requests in flight: by key (a policy), by route, and all together."""

from __future__ import annotations

from proxyd.config.base import Model


class KeyConcurrency(Model):
    """Owner: limits."""


class RouteConcurrency(Model):
    """Owner: limits."""


class Concurrency(Model):
    """Owner: limits."""


KeyConcurrencyField = KeyConcurrency
RouteConcurrencyField = RouteConcurrency
