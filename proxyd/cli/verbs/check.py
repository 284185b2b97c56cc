"""`proxyd check`: every error of a config in one run."""
from __future__ import annotations

from pathlib import Path

import click

from proxyd.cli.errors import Exit
from proxyd.cli.output import colored, paint, plural
from proxyd.cli.settings import Settings, common, pass_settings
from proxyd.config import Config, load
from proxyd.config.load import uncollected
from proxyd.diagnostics import Diagnostic, by_position, render_all, render_json


@click.command("check", short_help="find every error in the config, without serving it")
@common
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--online", is_flag=True, help="Also try the addresses: bind the listeners, look up names, connect to the servers.")
@click.option("--strict", is_flag=True, help="Fail (exit code 4) on warnings, too.")
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True,
              help="json: one object a line.")
@pass_settings
def command(settings: Settings, file: Path | None, online: bool, strict: bool, format_: str) -> None:
    """Find every error in the config, without serving it.

    Exit codes: 0 right, 3 errors, 4 warnings with --strict.
    """
    with uncollected():       # when it ends, the config is gone: one pass of the collector less over all of it
        code = look(settings, file or settings.config_path(), online=online, strict=strict, as_json=settings.json or format_ == "json")
    if code != Exit.OK:
        raise click.exceptions.Exit(code)


def look(settings: Settings, path: Path, *, online: bool, strict: bool, as_json: bool) -> Exit:
    """Print what is found, and tell the exit code."""
    result = load(path)
    diagnostics = list(result.diagnostics)
    if result.config is not None and result.config.tests:
        from proxyd.snapshot.rehearsal import rehearse  # with the native table, which most configs do not need here

        diagnostics = by_position([*diagnostics, *result.places.put(rehearse(result.config))])
    if online and result.config is not None:
        diagnostics = by_position([*diagnostics, *result.places.put(try_out(result.config, settings))])
    if as_json:
        print(render_json(diagnostics), end="")
    else:
        print(render_all(diagnostics, color=colored()), end="")
        if result.config is not None and not settings.quiet and not diagnostics:
            print(f"{path}: {paint('ok', 'good')}, {contents(result.config)}")
    if any(entry.severity == "error" for entry in diagnostics):
        return Exit.CONFIG_INVALID
    return Exit.WARNINGS if strict and diagnostics else Exit.OK


def contents(config: Config) -> str:
    """`2 listeners, 3 routes, 1 upstream with 4 servers`."""
    routes = {id(route) for listener in config.listeners.values() for route in config.routes_of(listener)}
    servers = sum(len(upstream.servers) for upstream in config.upstreams.values())
    flows = sum(len(config.flow_routes_of(name)) for name in config.listeners)
    parts = [plural(len(config.listeners), "listener"), plural(len(routes) + flows, "route")]
    if config.upstreams:
        parts.append(f"{plural(len(config.upstreams), 'upstream')} with {plural(servers, 'server')}")
    if config.tests:
        parts.append(f"{plural(len(config.tests), 'test')} passed")
    return ", ".join(parts)


def try_out(config: Config, settings: Settings) -> list[Diagnostic]:
    """What `--online` finds. (Imported here: most runs of `check` need no network.)"""
    import asyncio

    from proxyd.admin.client import AdminError
    from proxyd.cli.online import check_online, transport
    from proxyd.sockets import socket_kind

    try:
        listeners = settings.client(timeout_s=2.0).get("/listeners")
        served = frozenset((str(listener["address"]), transport(socket_kind(listener["mode"]))) for listener in listeners)
    except AdminError:
        served = frozenset()    # no daemon runs: who listens there is somebody else
    return asyncio.run(check_online(config, served))
