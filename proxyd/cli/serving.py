"""What `run` and `proxy` share: the daemon with its admin API in the foreground, a banner when it serves, sentences when it cannot."""
from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from proxyd.admin.address import AddressError, UnixAddress, parse_address
from proxyd.admin.server import AdminServer
from proxyd.cli.errors import CliError, Exit
from proxyd.cli.output import colored, paint
from proxyd.cli.settings import Settings
from proxyd.config.address import BindAddress
from proxyd.daemon import Daemon, ServiceFactory, serve
from proxyd.diagnostics import Diagnostic, render_all, summary
from proxyd.state import DaemonError

if TYPE_CHECKING:
    from proxyd.state import Service

OF_THE_CONFIG = re.compile(r"PXD-0([0-6]|8)\d")
"""Codes of what is wrong with the text itself; others (a taken port, a missing right) are the machine's."""


def serve_in_foreground(
    settings: Settings,
    *,
    path: Path | None = None,
    text: str | None = None,
    watch: bool = False,
    last_good: bool = False,
    services: Sequence[ServiceFactory] = (),
    to_try: Sequence[tuple[str, str]] = (),
) -> None:
    """Serve until a signal; ends the command with the daemon's exit code. `to_try`: paths with their meaning, shown under the banner."""
    admins: list[AdminServer] = []
    bind = admin_bind(settings)

    def build_admin(daemon: Daemon) -> Service:
        admins.append(AdminServer(daemon, bind, passed=daemon.passed))
        return admins[0]

    def on_ready(daemon: Daemon) -> None:
        if not settings.quiet:
            print("\n".join(banner(daemon, admins[0].addresses, to_try)), file=sys.stderr, flush=True)

    try:
        code = serve(path=path, text=text, services=[build_admin, *services], watch=watch, last_good=last_good, on_ready=on_ready)
    except DaemonError as error:
        raise cannot_serve(error) from error
    raise click.exceptions.Exit(code)


def admin_bind(settings: Settings) -> tuple[BindAddress, ...] | None:
    """--admin of a command that serves says where to listen; None: where the config says."""
    if not settings.admin:
        return None
    try:
        address = parse_address(settings.admin)
    except AddressError as error:
        raise CliError(str(error), Exit.USAGE) from error
    if isinstance(address, UnixAddress):
        return (BindAddress(path=str(Path(address.path).resolve())),)
    if address.user:
        raise CliError("--admin says where to listen, which takes no user; users stand in the config, under `admin.users`", Exit.USAGE)
    return (BindAddress(host="127.0.0.1" if address.host == "localhost" else address.host, port=address.port),)


def banner(daemon: Daemon, admin: Sequence[str], to_try: Sequence[tuple[str, str]] = ()) -> list[str]:
    status = daemon.status()
    engines = f"{status.threads} engine threads" if status.threads > 1 else "1 engine thread" if status.threads else "an inline engine"
    lines = [f"proxyd {status.version} serves {status.config_path or 'without a config file'} with {engines}, pid {status.pid}"]
    lines += [f"  {paint(url_of(listener.address, listener.mode), 'good', sys.stderr)}  {listener.name}" for listener in status.listeners]
    lines += [f"  admin: {url_of(address)}" + ("" if address.startswith("unix:") else "/  dashboard, and /metrics") for address in admin]
    lines += [paint(f"  warning: {text}", "warning", sys.stderr) for text in status.warnings]
    served = [listener for listener in status.listeners if listener.flow is None and not listener.address.startswith("unix:")]
    url = url_of(served[0].address) if served else ""
    width = max((len(path) for path, _ in to_try), default=0)
    return lines + [f"  try: curl {url}{path:<{width}}  # {meaning}" for path, meaning in to_try if url]


SCHEMES = {"tcp": "tcp", "udp": "udp", "tls_passthrough": "tls"}


def url_of(address: str, mode: str = "http") -> str:
    """An address to click on: `:8080` and `0.0.0.0:8080` are reached at localhost."""
    if address.startswith("unix:"):
        return address
    host, _, port = address.rpartition(":")
    scheme = SCHEMES.get(mode, "http")
    return f"{scheme}://{'localhost' if host in {'', '0.0.0.0', '[::]'} else host}" + ("" if scheme + port == "http80" else f":{port}")


def cannot_serve(error: DaemonError) -> CliError:
    diagnostics: list[Diagnostic] = list(error.diagnostics)
    errors = [entry for entry in diagnostics if entry.severity == "error"]
    invalid = bool(errors) and all(OF_THE_CONFIG.fullmatch(entry.code) for entry in errors)
    message = summary(diagnostics) if diagnostics else str(error)
    return CliError(
        f"proxyd cannot start: {message}",
        Exit.CONFIG_INVALID if invalid else Exit.FAILED,
        hint=error.help,
        shown=render_all(diagnostics, color=colored(sys.stderr)).removesuffix(f"\n\n{summary(diagnostics)}\n"),
        diagnostics=[entry.as_dict() for entry in diagnostics],
    )
