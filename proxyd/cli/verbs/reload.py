"""`proxyd reload`: the daemon takes its config again; what changed, or why nothing did."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from proxyd.admin.client import Refused, TimedOut
from proxyd.cli.duration import as_seconds
from proxyd.cli.errors import CliError, Exit
from proxyd.cli.output import paint, plural, print_json, render_diagnostics
from proxyd.cli.settings import Settings, common, pass_settings

CONFIG_REFUSED = "PXD-247"
SIGNS = {"added": ("+", "good"), "removed": ("-", "error"), "changed": ("~", "warning")}


@click.command("reload", short_help="make the running daemon take its config again")
@common
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--wait", callback=as_seconds, default="30s", is_flag=False, flag_value="30s", metavar="[DURATION]", show_default=True,
              help="How long to wait until every engine has taken the config.")
@pass_settings
def command(settings: Settings, dry_run: bool, wait: float) -> None:
    """Make the running daemon take its config again, or that of -c FILE.

    All of it or nothing: a config with errors changes nothing, its errors are printed and the exit code is 6.
    """
    query = {"dry_run": "1"} if dry_run else {}
    if settings.config:
        query["path"] = str(Path(settings.config).resolve())
    client = settings.client(timeout_s=wait)
    try:
        result = client.send("POST", "/config", query=query).json()
    except Refused as refusal:
        if refusal.code != CONFIG_REFUSED:
            raise
        found = refusal.diagnostics
        shown = render_diagnostics(found)
        raise CliError(str(refusal), Exit.RELOAD_REFUSED, code=refusal.code, shown=shown, diagnostics=found) from refusal
    except TimedOut as error:
        raise CliError(f"the engines had not all taken the config after {wait:g} s; `proxyd status` tells which", Exit.FAILED) from error
    if settings.json:
        print_json(result)
    elif not settings.quiet or result["diagnostics"]:
        print_result(result, quiet=settings.quiet)


def print_result(result: dict[str, Any], *, quiet: bool) -> None:
    if result["diagnostics"]:
        click.echo(render_diagnostics(result["diagnostics"]) + "\n", err=True)
    if quiet:
        return
    if not result["changed"]:
        print("nothing would change" if result["dry_run"] else "nothing changed: the daemon serves this config already")
        return
    changes = plural(len(result["plan"]), "change")
    if result["dry_run"]:
        print(f"{changes} would be made:")
    else:
        print(f"reloaded: {changes} in {result['seconds'] * 1000:.0f} ms; generation {result['generation']} serves")
    for change in result["plan"]:
        sign, style = SIGNS.get(change["kind"], ("~", "warning"))
        later = "" if change["live"] else paint("  (takes effect at the next start)", "warning")
        print(f"  {paint(sign, style)} {change['text']}{later}")
