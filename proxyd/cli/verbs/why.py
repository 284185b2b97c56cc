"""`proxyd why`: what was decided for a past request, step by step, as the daemon tells it."""
from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from proxyd.admin.client import Refused
from proxyd.cli.errors import CliError, Exit
from proxyd.cli.output import colored, paint, print_json
from proxyd.cli.settings import Settings, common, pass_settings
from proxyd.records.line import line, shown

STYLES = {"error": "error", "advice": "good", "now": "dim"}
NOT_KEPT = (
    "kept are failures, the 20 slowest requests of each of the last 15 minutes, and a sample (all requests while there are few); "
    "the access log has the others"
)


@click.command("why", short_help="what was decided for a past request, step by step")
@common
@click.argument("request_id", metavar="REQUEST_ID")
@pass_settings
def command(settings: Settings, request_id: str) -> None:
    """What was decided for a past request, step by step.

    REQUEST_ID stands in the X-Request-ID that servers get, on error pages, in the access log and in `proxyd logs`; its first six
    characters will do. Kept are failures, the slowest requests and a sample. Exit code 7: it is not kept.
    """
    try:
        found = settings.client().get(f"/requests/{quote(request_id, safe='')}")
    except Refused as error:
        if error.status != 404:
            raise
        raise CliError(str(error), Exit.NOT_FOUND, code=error.code, hint=NOT_KEPT) from error
    if settings.json:
        print_json(found)
        return
    print("\n\n".join("\n".join(lines_of(entry)) for entry in found))


def lines_of(entry: dict[str, Any]) -> list[str]:
    """The request, and its steps: each with what it is about, once."""
    lines, before = [line(entry["record"], color=colored()), ""], ""
    for step in entry["steps"]:
        about = step["about"] if step["about"] != before else ""
        before = step["about"]
        text = shown(step["text"])
        lines.append(f"  {paint(f'{about:<9}', 'dim')} {paint(text, STYLES[before]) if before in STYLES else text}")
    return lines
