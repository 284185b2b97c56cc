"""The policy `python`: a filter of the user's own."""

from __future__ import annotations

from proxyd.config.base import Model


class PythonFilter(Model):
    """Owner: filters."""


PythonField = PythonFilter
