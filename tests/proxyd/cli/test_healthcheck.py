from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from proxyd.admin.client import AdminError, NotPermitted, Refused
from proxyd.cli.errors import Exit
from tests.proxyd.admin.fake_daemon import FakeDaemon

Run = Callable[..., Result]


def test_ready(run: Run, daemon: FakeDaemon) -> None:
    result = run("healthcheck")
    assert (result.exit_code, result.stdout) == (0, "ready\n")
    assert run("healthcheck", "-q").output == ""


def test_not_ready(run: Run, daemon: FakeDaemon) -> None:
    daemon.reasons = ("upstream app has no usable server",)
    result = run("healthcheck")
    assert (result.exit_code, result.stdout) == (1, "not ready: upstream app has no usable server\n")
    assert json.loads(run("healthcheck", "--json").stdout)["ready"] is False


def test_without_a_daemon_it_is_1_like_every_failure(run: Run) -> None:
    """A container's HEALTHCHECK knows no other code."""
    result = run("healthcheck")
    assert result.exit_code == Exit.FAILED
    assert "PXD-249" in result.stderr


@pytest.mark.parametrize("error", [NotPermitted("no"), Refused(401, {"code": "PXD-270", "detail": "who?"}), AdminError("not proxyd")])
def test_who_may_not_ask_does_not_know_that_it_is_ready(error: AdminError, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("proxyd.admin.client.Client.get", refuse)
    assert run("healthcheck").exit_code == Exit.FAILED
