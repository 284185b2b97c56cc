"""`proxyd show config`: what the config means, without shorthands."""
from __future__ import annotations

import click

from proxyd.admin.configs import show, sparse
from proxyd.cli.configs import load_or_fail
from proxyd.cli.output import print_json
from proxyd.cli.settings import Settings, common, pass_settings
from proxyd.config.canonical import canonical


@click.group("show", short_help="show the config in its canonical form")
@common
def command() -> None:
    """Show the config."""


@command.command("config", short_help="the config in its canonical form")
@common
@click.option("--full", is_flag=True, help="With every default filled in.")
@click.option("--running", is_flag=True, help="What the running daemon serves, instead of the file.")
@pass_settings
def config(settings: Settings, full: bool, running: bool) -> None:
    """The config in its canonical form: every shorthand written out, secrets as `***`."""
    if running:
        answer = settings.client().get("/config", {"view": "full" if full else "running"})
        if settings.json:
            print_json(answer)
        else:
            print(answer["text"], end="")
        return
    found = load_or_fail(settings.config_path())
    if settings.json:
        print_json(canonical(found) if full else sparse(found))
    else:
        print(show(found, full=full), end="")
