"""`proxyd diff`: the file on disk, the running config and what was changed at run time, side by side."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from proxyd.cli.errors import Exit
from proxyd.cli.output import paint, print_json, render_diagnostics
from proxyd.cli.overrides import override_line
from proxyd.cli.settings import Settings, common, pass_settings
from proxyd.cli.trial import trial_line
from proxyd.cli.verbs.reload import change_line


@click.command("diff", short_help="what a reload would change, and what was changed at run time")
@common
@pass_settings
def command(settings: Settings) -> None:
    """What the file (of the daemon, or -c FILE) would change in the running config, and what was changed at run time on top of it.

    Exit codes: 0 whether it differs or not, 3 the file has errors.
    """
    query = {"path": str(Path(settings.config).resolve())} if settings.config else {}
    found = settings.client().get("/config/diff", query)
    if settings.json:
        print_json(found)
    else:
        if found["diagnostics"]:
            click.echo(render_diagnostics(found["diagnostics"]) + "\n", err=True)
        print("\n".join(lines_of(found)))
    if not found["ok"]:
        raise click.exceptions.Exit(Exit.CONFIG_INVALID)


def lines_of(found: dict[str, Any]) -> list[str]:
    path, changes = found["path"] or "the text that the daemon was started from", found["changes"]
    if not found["ok"]:
        lines = [paint(f"{path} has errors: a reload would be refused", "error")]
    elif changes:
        lines = [f"{path} differs from the running config; a reload would do this: {found['summary']}"]
    else:
        lines = [f"{path} is the running config"]
    lines += [change_line(change) for change in changes]
    serving = found["serving"]
    if serving["file_differs"] and serving["restores"]:
        lines.append(f"config {serving['restores']} serves by a rollback; the file was not written")
    if serving["trial"] is not None:
        lines.append(trial_line(serving["trial"]))
    return [*lines, *(override_line(entry) for entry in found["overrides"])]
