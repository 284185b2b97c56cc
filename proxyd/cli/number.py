"""Whole numbers of options and arguments."""
from __future__ import annotations

import click


class Number(click.IntRange):
    """click's own, whose refusal calls it an "integer range"."""

    name = "whole number"
