"""`proxyd rollback`: serve an earlier config again."""
from __future__ import annotations

import click

from proxyd.cli.duration import as_some_seconds
from proxyd.cli.number import Number
from proxyd.cli.output import print_json
from proxyd.cli.settings import Settings, common, pass_settings
from proxyd.cli.verbs.reload import print_result, take


@click.command("rollback", short_help="serve an earlier config again")
@common
@click.argument("number", required=False, type=Number(min=1), metavar="[N]")
@click.option("--wait", callback=as_some_seconds, default="30s", metavar="DURATION", show_default=True,
              help="How long to wait until every engine has taken the config.")
@pass_settings
def command(settings: Settings, number: int | None, wait: float) -> None:
    """Serve the config before the one that serves, or that of entry N of `proxyd history`.

    The file is not written: until it is repaired, a start or a reload would take it again. Servers that were drained stay drained.
    Exit code 6 when the old config cannot be taken any more, 7 when there is none.
    """
    client = settings.client(timeout_s=wait)
    result = take(client, f"/config/rollback/{number}" if number is not None else "/config/rollback", {}, wait)
    if settings.json:
        print_json(result)
        return
    print_result(result, quiet=settings.quiet)
    if result["changed"] and not settings.quiet:
        serving = client.get("/status")
        if serving["serving"]["file_differs"]:
            print(f"{serving['config_path']} is as it was: a start or a reload would take it again")
