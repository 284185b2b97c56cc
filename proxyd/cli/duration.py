"""Durations of options (`--wait=30s`). The config's own type would bring the whole model with it."""
from __future__ import annotations

import re

import click

_PARTS = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def as_seconds(ctx: click.Context, parameter: click.Parameter, value: str) -> float:
    """An option's callback: seconds, from `500ms`, `30s`, `1m30s`. A bare number is refused: nobody can tell its unit."""
    parts = _PARTS.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        spelling = f"write `{value}s` or `{value}ms`" if value.isdigit() else "write it like `500ms`, `30s`, `1m30s`"
        raise click.BadParameter(f"`{value}` is not a duration; {spelling}", ctx, parameter)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def as_some_seconds(ctx: click.Context, parameter: click.Parameter, value: str) -> float:
    """The same, where nothing at all would come of `0s`: an answer takes some time."""
    seconds = as_seconds(ctx, parameter, value)
    if not seconds:
        raise click.BadParameter(f"`{value}` is no time to wait for an answer; write it like `500ms`, `30s`, `1m30s`", ctx, parameter)
    return seconds
