from __future__ import annotations

import importlib
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import Result

from proxyd.admin.address import TcpAddress
from proxyd.admin.client import NotPermitted, Refused
from proxyd.cli.entry import VERBS, explain_failure, root
from proxyd.cli.errors import Exit
from proxyd.cli.settings import Settings
from tests.proxyd.cli.program import environment, proxyd

Run = Callable[..., Result]


def test_help_lists_every_verb(run: Run) -> None:
    text = run("--help").stdout
    assert all(f"  {verb} " in text for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_command_with_the_global_options(verb: str, run: Run) -> None:
    command = importlib.import_module(f"proxyd.cli.verbs.{verb}").command
    assert command.name == verb
    assert {"config", "admin", "json", "quiet", "verbose"} <= {parameter.name for parameter in command.params}
    result = run(verb, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: proxyd ")


def test_help_begins_with_what_is_the_commands_own(run: Run) -> None:
    for arguments in (("reload",), ("upstream", "drain")):
        text = run(*arguments, "--help").stdout
        assert text.index("--wait") < text.index("--config"), arguments


@pytest.mark.parametrize("verb", ["upstream", "cache", "limit", "auth", "audit", "show"])
def test_what_is_below_a_command_is_told_in_whole_lines(verb: str, run: Run) -> None:
    listed = run(verb, "--help").stdout.partition("Commands:\n")[2]
    assert listed
    assert "..." not in listed


def test_help_imports_nothing_heavy() -> None:
    """Start-up time is import time; a figure in milliseconds would depend on the machine."""
    script = (
        "import sys; from proxyd.cli.entry import root\n"
        "root.main(['--help'], standalone_mode=False)\n"
        "print('HEAVY', [name for name in ('aiohttp', 'asyncio', 'pydantic', 'yaml', 'uvloop', 'http.client') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30, env=environment())
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_a_misspelt_verb(run: Run) -> None:
    result = run("stauts")
    assert result.exit_code == Exit.USAGE
    assert "did you mean `proxyd status`?" in result.stderr


def test_an_option_that_is_none(run: Run) -> None:
    assert run("status", "--colour").exit_code == Exit.USAGE


@pytest.mark.parametrize("arguments", [("--json", "status"), ("status", "--json")])
def test_global_options_stand_before_or_after_the_verb(arguments: tuple[str, ...], run: Run) -> None:
    result = run(*arguments)
    assert result.exit_code == Exit.NOT_REACHABLE
    facts = json.loads(result.stdout)
    assert (facts["ok"], facts["exit"], facts["code"]) == (False, 5, "PXD-249")


@pytest.mark.parametrize("arguments", [("status",), ("reload",), ("stop",), ("show", "config", "--running"), ("route", "/x")])
def test_without_a_daemon_the_exit_code_is_5(arguments: tuple[str, ...], run: Run) -> None:
    result = run(*arguments)
    assert result.exit_code == Exit.NOT_REACHABLE
    assert "no proxyd answers at unix:" in result.stderr
    assert "proxyd run" in result.stderr


def test_a_config_that_is_not_there_is_named(run: Run, write: Callable[[str, str], str]) -> None:
    """It may be gone and its daemon run: it is no error until nobody answers."""
    found = run("status", "-c", "typo.yaml")
    assert found.exit_code == Exit.NOT_REACHABLE
    assert "there is no `typo.yaml`" in found.stderr
    assert "there is no `" not in run("status", "-c", write("p.yaml", "listen: :8080\n")).stderr
    assert "typo" not in run("status", "-c", "typo.yaml", "--admin", "unix:/none").stderr


def test_a_daemon_beside_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "run" / "admin-77.sock"))
    result = run("stop")
    assert result.exit_code == Exit.NOT_REACHABLE
    assert f"there is --admin unix:{tmp_path}/run/admin-77.sock" in result.stderr


def test_a_wrong_admin_address_is_a_usage_error(run: Run) -> None:
    result = run("status", "--admin", "127.0.0.1")
    assert result.exit_code == Exit.USAGE
    assert "has no port" in result.stderr


def test_the_admin_address_of_the_config_is_used(run: Run, write: Callable[[str, str], str], tmp_path: Path) -> None:
    write("proxyd.yaml", f"listen: :8080\nto: [127.0.0.1:9001]\nadmin: {{bind: 'unix:{tmp_path}/here.sock'}}\n")
    assert f"unix:{tmp_path}/here.sock" in run("status").stderr


def test_a_broken_config_does_not_hide_the_daemon(run: Run, write: Callable[[str, str], str], tmp_path: Path) -> None:
    write("proxyd.yaml", "admin: {bind: [\n")
    assert f"unix:{tmp_path}/run/admin.sock" in run("status").stderr


def test_where_configs_are_looked_for(run: Run, write: Callable[[str, str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("check")
    assert result.exit_code == Exit.CONFIG_INVALID
    assert "./proxyd.yaml and /etc/proxyd/proxyd.yaml" in result.stderr
    write("proxyd.yaml", "listen: :8081\nto: [127.0.0.1:9001]\n")
    write("env.yaml", "listen: :8082\nto: [127.0.0.1:9001]\n")
    write("named.yaml", "listen: :8083\nto: [127.0.0.1:9001]\n")
    assert ":8081" in run("show", "config").stdout
    monkeypatch.setenv("PROXYD_CONFIG", "env.yaml")
    assert ":8082" in run("show", "config").stdout
    assert ":8083" in run("show", "config", "-c", "named.yaml").stdout
    assert ":8083" in run("-c", "named.yaml", "show", "config").stdout


def test_an_error_of_ours_is_a_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **words: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("proxyd.cli.verbs.version.installed", fail)
    result = run("version")
    assert result.exit_code == Exit.FAILED
    assert "an error of its own: RuntimeError: boom" in result.stderr
    assert "PROXYD_TRACEBACK=1" in result.stderr


def test_a_trace_for_those_who_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXYD_TRACEBACK", "1")
    with pytest.raises(RuntimeError):
        explain_failure(RuntimeError("boom"))


def test_system_errors_are_said_in_words() -> None:
    error = explain_failure(PermissionError(13, "Permission denied", "/etc/shadow"))
    assert str(error) == "/etc/shadow: permission denied"


def test_alone_it_shows_the_five_commands(run: Run) -> None:
    result = run()
    assert result.exit_code == 0
    assert "No proxyd is running" in result.stdout
    assert sum(line.startswith("  proxyd ") for line in result.stdout.splitlines()) == 5


def test_alone_without_permission(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may not ask the daemon was told that there is none."""
    def refuse(*_: object, **__: object) -> None:
        raise NotPermitted("you may not use the admin socket")

    monkeypatch.setattr("proxyd.admin.client.Client.get", refuse)
    text = run().stdout
    assert text.startswith("You may not use the admin socket.\n")
    assert "No proxyd" not in text


def test_alone_beside_a_daemon(run: Run, daemon: object) -> None:
    text = run().stdout
    assert "proxyd 0.1.0 is serving /etc/proxyd/proxyd.yaml: pid 4242, up 1m 40s, ready" in text
    assert "web on 127.0.0.1:8080, 2 connections open" in text
    assert json.loads(run("--json").stdout)["running"] is True


def test_no_color_without_a_terminal(run: Run, daemon: object) -> None:
    assert "\x1b" not in run().output
    assert "\x1b" not in run("status").output


def test_the_program_by_its_module(tmp_path: Path) -> None:
    done = proxyd("explain", "PXD-999", cwd=tmp_path)
    assert done.returncode == Exit.NOT_FOUND
    assert done.stderr.startswith("error: there is no code PXD-999")


def test_version(run: Run) -> None:
    assert run("version").stdout.startswith("proxyd ")
    assert run("--version").stdout == run("version").stdout
    assert json.loads(run("version", "--json").stdout)["uvloop"]


def test_the_group_is_what_the_entry_point_runs() -> None:
    assert isinstance(root, click.Group)


@pytest.mark.parametrize(("status", "code"), [(401, "PXD-270"), (401, "PXD-271"), (403, "PXD-272"), (429, "PXD-273")])
def test_who_may_not_leaves_with_8(status: int, code: str) -> None:
    found = explain_failure(Refused(status, {"detail": "this address asks for a user", "code": code}))
    assert (found.exit, found.code) == (Exit.NOT_PERMITTED, code)
    assert ("$PROXYD_ADMIN_PASSWORD" in found.hint) is (status == 401)


def test_the_user_comes_from_the_address_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROXYD_ADMIN_USER", "ops")
    monkeypatch.setenv("PROXYD_ADMIN_PASSWORD", "secret")
    assert Settings(admin="127.0.0.1:2080").client().address == TcpAddress("127.0.0.1", 2080, "ops", "secret")
    assert Settings(admin="ann:other@127.0.0.1:2080").client().address == TcpAddress("127.0.0.1", 2080, "ann", "other")


def test_who_serves_has_no_user(run: Run, write: Callable[[str, str], str]) -> None:
    write("proxyd.yaml", "listen: :8080\nto: [127.0.0.1:9001]\n")
    result = run("run", "--admin", "ops:secret@127.0.0.1:2080")
    assert result.exit_code == Exit.USAGE
    assert "admin.users" in result.stderr
    assert "secret" not in result.output
