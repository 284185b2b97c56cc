"""`proxyd confirm`: keep the config that is on trial."""
from __future__ import annotations

import click

from proxyd.cli.output import print_json
from proxyd.cli.settings import Settings, common, pass_settings


@click.command("confirm", short_help="keep the config that is on trial")
@common
@pass_settings
def command(settings: Settings) -> None:
    """Keep the config that `reload --confirm` or `--guard` has put on trial, which ends the trial.

    Exit code 7 when none is on trial: it was kept already, or rolled back.
    """
    entry = settings.client().post("/config/confirm")
    if settings.json:
        print_json(entry)
    elif not settings.quiet:
        print(f"config {entry['number']} is kept")
