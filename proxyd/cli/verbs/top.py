"""`proxyd top`: what the daemon does now, live. The screen is Textual's, and imported only for it."""
from __future__ import annotations

import gc
import sys

import click

from proxyd.cli.errors import CliError
from proxyd.cli.output import print_json, table
from proxyd.cli.settings import Settings, common, pass_settings
from proxyd.cli.top.rows import ROUTE_COLUMNS, SERVER_COLUMNS, headline, route_rows, server_groups
from proxyd.cli.top.source import Daemon

TIMEOUT_S = 5.0          # the daemon says something every second


@click.command("top", short_help="what the daemon does now, live: sort, filter, drain")
@common
@click.option("--once", is_flag=True, help="Print one sample and leave; with --json everything that /stats tells.")
@pass_settings
def command(settings: Settings, once: bool) -> None:
    """Routes, upstreams and servers live, with rates, errors and percentiles of the last ten seconds. `?` shows the keys."""
    client = settings.client(timeout_s=TIMEOUT_S)
    if once or settings.json:
        sample = client.get("/stats")
        if settings.json:
            print_json(sample)
            return
        print(headline(sample))
        print("\n".join(f"! {text}" for text in sample["wrong"]) or "nothing is wrong")
        print("\n".join(["", *table([list(ROUTE_COLUMNS), *(list(row.cells) for row in route_rows(sample))], indent="")]))
        servers = [list(row.cells) for group in server_groups(sample) for row in group]
        print("\n".join(["", *table([list(SERVER_COLUMNS), *servers], indent="")]))
        return
    if not sys.stdout.isatty():
        raise CliError("top needs a terminal", hint="`proxyd top --once` prints one sample, `--once --json` everything")
    client.get("/live", accept=frozenset({503}))     # so that a daemon that does not run is told as by any other command
    from proxyd.cli.top.app import Top

    gc.enable()
    Top(Daemon(client)).run()
