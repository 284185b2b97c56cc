"""`proxyd reload`: the daemon takes its config again; what changed, or why nothing did."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from proxyd.admin.client import Client, Refused, TimedOut
from proxyd.cli.duration import as_some_seconds
from proxyd.cli.errors import CliError, Exit
from proxyd.cli.output import paint, plural, print_json, render_diagnostics
from proxyd.cli.settings import Settings, common, pass_settings
from proxyd.cli.trial import await_guard, trial_line

CONFIG_REFUSED = "PXD-247"
GUARD_INVALID = "PXD-253"
SIGNS = {"added": ("+", "good"), "removed": ("-", "error"), "changed": ("~", "warning")}


@click.command("reload", short_help="make the running daemon take its config again")
@common
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
@click.option("--guard", metavar="EXPR", default="",
              help="Roll back by itself when this holds after the reload: 'errors > 2% for 30s or p99 of route api > 1s'.")
@click.option("--confirm", metavar="DURATION", default="", help="Roll back by itself unless `proxyd confirm` comes in time: 2m.")
@click.option("--wait", callback=as_some_seconds, default="30s", is_flag=False, flag_value="30s", metavar="[DURATION]", show_default=True,
              help="How long to wait until every engine has taken the config.")
@pass_settings
def command(settings: Settings, dry_run: bool, guard: str, confirm: str, wait: float) -> None:
    """Make the running daemon take its config again, or that of -c FILE.

    All of it or nothing: a config with errors changes nothing, its errors are printed and the exit code is 6. So it is when a guard rolled
    it back, which the command waits for.

    \b
        proxyd reload --dry-run
        proxyd reload --guard 'errors > 2% for 30s'
        proxyd reload --confirm 2m && ssh -p 2222 gateway true && proxyd confirm
    """
    query = {"dry_run": "1"} if dry_run else {}
    query |= {name: text for name, text in (("guard", guard), ("confirm", confirm)) if text}
    if settings.config:
        query["path"] = str(Path(settings.config).resolve())
    client = settings.client(timeout_s=wait)
    result = take(client, "/config", query, wait)
    if not settings.json and (not settings.quiet or result["diagnostics"]):
        print_result(result, quiet=settings.quiet)
    trial = result["trial"]
    if trial is not None and trial["guard_until"]:
        outcome = await_guard(Client(client.address), trial, say=not settings.quiet and not settings.json)
        if not settings.quiet and not settings.json:
            print(outcome)
    elif trial is not None and not settings.quiet and not settings.json:
        print(trial_line(trial))
    if settings.json:
        print_json(result)


def take(client: Client, path: str, query: dict[str, str], wait: float) -> dict[str, Any]:
    """What the daemon answers to a reload or a rollback. CliError when it refuses (exit 6), or takes longer than `wait` seconds."""
    try:
        result: dict[str, Any] = client.send("POST", path, query=query).json()
    except Refused as refusal:
        if refusal.code == GUARD_INVALID:
            shown = str(refusal.problem.get("rendered", ""))
            raise CliError(str(refusal), Exit.USAGE, code=refusal.code, shown=shown) from refusal
        if refusal.code != CONFIG_REFUSED:
            raise
        found = refusal.diagnostics
        shown = render_diagnostics(found)
        raise CliError(str(refusal), Exit.RELOAD_REFUSED, code=refusal.code, shown=shown, diagnostics=found) from refusal
    except TimedOut as error:
        raise CliError(f"the engines had not all taken the config after {wait:g} s; `proxyd status` tells which", Exit.FAILED) from error
    return result


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
        print(f"{changes} would be made: {result['summary']}")
    else:
        done = f"rolled back to {result['restores']}" if result["restores"] else "reloaded"
        serves = f"config {result['entry']} serves, generation {result['generation']}"
        print(f"{done}: {changes} in {result['seconds'] * 1000:.0f} ms; {serves}: {result['summary']}")
    for change in result["plan"]:
        print(change_line(change))


def change_line(change: dict[str, Any]) -> str:
    sign, style = SIGNS.get(change["kind"], ("~", "warning"))
    later = "" if change["live"] else paint("  (takes effect at the next start)", "warning")
    return f"  {paint(sign, style)} {change['text']}{later}"
