from __future__ import annotations

import click
import pytest

from proxyd.cli.duration import as_seconds, as_some_seconds

PARAMETER = click.Option(["--wait"])
CONTEXT = click.Context(click.Command("x"))


@pytest.mark.parametrize(("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("1m30s", 90), ("2h", 7200), ("0s", 0), ("1.5s", 1.5)])
def test_spellings(text: str, seconds: float) -> None:
    assert as_seconds(CONTEXT, PARAMETER, text) == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "-5s", "5sx", "x5s", "5d"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(click.BadParameter):
        as_seconds(CONTEXT, PARAMETER, text)


def test_an_answer_takes_some_time() -> None:
    """`reload --wait=0s` did not wait for the connection, and said that nobody answers."""
    assert as_some_seconds(CONTEXT, PARAMETER, "1ms") == 0.001
    with pytest.raises(click.BadParameter, match="no time to wait"):
        as_some_seconds(CONTEXT, PARAMETER, "0s")
