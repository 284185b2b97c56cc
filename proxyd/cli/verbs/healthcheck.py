"""`proxyd healthcheck`: whether traffic may come, as an exit code, for containers and scripts."""
from __future__ import annotations

import click

from proxyd.admin.client import AdminError
from proxyd.cli.errors import Exit
from proxyd.cli.output import print_json
from proxyd.cli.settings import Settings, common, pass_settings


@click.command("healthcheck", short_help="0 when traffic may come, else 1")
@common
@click.option("--timeout", type=click.FloatRange(0.1, 60.0), default=3.0, show_default=True, metavar="SECONDS",
              help="How long the daemon may take to answer.")
@pass_settings
def command(settings: Settings, timeout: float) -> None:
    """Exit with 0 when the daemon is ready for traffic, and with 1 when it is not, does not answer, or may not be asked."""
    try:
        found = settings.client(timeout_s=timeout).get("/ready", accept=frozenset({503}))
    except AdminError as error:
        from proxyd.cli.entry import explain_failure  # not above: it is who imports us

        failure = explain_failure(error)
        failure.exit = Exit.FAILED               # probes know two outcomes
        raise failure from error
    if settings.json:
        print_json(found)
    elif not settings.quiet:
        print("ready" if found["ready"] else f"not ready: {'; '.join(found['reasons'])}")
    if not found["ready"]:
        raise click.exceptions.Exit(Exit.FAILED)
