"""`proxyd` alone: what is running, and the five commands one needs."""
from __future__ import annotations

from typing import Any

import click

from proxyd.admin.client import AdminError, NotPermitted
from proxyd.cli.output import duration, paint, plural, print_json
from proxyd.cli.settings import Settings, pass_settings

FIRST_COMMANDS = (
    ("proxyd proxy :8080 HOST:PORT...", "a load balancer with no config file"),
    ("proxyd run -c proxyd.yaml", "serve a config; `proxyd run --demo` brings its own origins"),
    ("proxyd check", "find every error in the config"),
    ("proxyd reload", "make the running daemon take its config again"),
    ("proxyd status", "listeners, upstreams and engines"),
)


@click.command("overview")
@pass_settings
def command(settings: Settings) -> None:
    status, why = maybe_status(settings)
    if settings.json:
        print_json({"running": status is not None, "status": status, "reason": why})
        return
    if status is None:
        print(f"{why[0].upper()}{why[1:]}.")
    else:
        print(headline(status))
        for listener in status["listeners"]:
            what = "flow" if listener["flow"] is not None else "connection"
            mode = f", {listener['mode']}" if listener["flow"] is not None else ""
            print(f"  {listener['name']} on {listener['address']}{mode}, {plural(listener['open'], what)} open")
    print()
    width = max(len(line) for line, _ in FIRST_COMMANDS)
    for line, meaning in FIRST_COMMANDS:
        print(f"  {line:<{width}}  {paint(meaning, 'dim')}")
    print("\n`proxyd --help` lists all commands, `proxyd explain OPTION` says what an option means.")


def maybe_status(settings: Settings) -> tuple[dict[str, Any] | None, str]:
    """The daemon's status, or None and the reason in a sentence: one that may not be asked may well be running."""
    client = settings.client(timeout_s=2.0)
    try:
        found = client.get("/status")
    except NotPermitted as error:
        return None, str(error)
    except AdminError:
        return None, f"no proxyd is running here (nothing answers at {client.address})"
    return (found, "") if isinstance(found, dict) else (None, f"{client.address} is not proxyd's admin address")


def headline(status: dict[str, Any]) -> str:
    """`proxyd 0.1.0 is serving proxyd.yaml: pid 4242, up 3h 12m, ready`."""
    config = status["config_path"] or "a config without a file"
    ready = "ready" if status["ready"] else "not ready: " + "; ".join(status["not_ready"])
    return (
        f"proxyd {status['version']} is {status['phase']} {config}: pid {status['pid']}, up {duration(status['uptime_seconds'])}, "
        + paint(ready, "good" if status["ready"] else "error")
    )
