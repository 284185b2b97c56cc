"""`proxyd logs`: requests that the daemon keeps, and with -f those that come, whatever its access log is set to."""
from __future__ import annotations

import gc
import sys
from typing import Any

import click

from proxyd.admin.client import Client
from proxyd.cli.number import Number
from proxyd.cli.output import colored, json_text, plural
from proxyd.cli.settings import Settings, common, pass_settings
from proxyd.cli.wanted import filter_options
from proxyd.records.filters import words_of
from proxyd.records.line import line

SILENCE_S = 60.0         # without a word from the daemon, which says something every 15 s


@click.command("logs", short_help="requests that were kept, and with -f those that come")
@common
@click.option("-f", "--follow", is_flag=True, help="Go on with requests as they come, until Ctrl-C.")
@click.option("-n", "--lines", type=Number(0, 5_000), default=50, show_default=True, metavar="N", help="How many of the kept ones.")
@filter_options
@pass_settings
def command(settings: Settings, /, follow: bool, lines: int, **words: str | None) -> None:
    """Requests that were kept (failures, the slowest, a sample), and with -f all that come, as lines.

    \b
        proxyd logs -f --status 5xx
        proxyd logs -f --route api --slower-than 1s
        proxyd logs -n 20 --error

    The access log need not be on. With --json each line is a record.
    """
    wanted = words_of(words)
    client = settings.client(timeout_s=SILENCE_S)
    try:
        if follow:
            gc.enable()
            _follow(settings, client, wanted, lines)
        else:
            found = kept(client, wanted, lines)
            for record in found:
                tell(settings, record)
            if not found and lines and not settings.quiet:
                nothing = "none of the requests that are kept fits" if wanted else "no request is kept yet"
                print(f"{nothing}; -f shows those that come", file=sys.stderr)
    except KeyboardInterrupt:
        return


def kept(client: Client, wanted: dict[str, str], lines: int) -> list[dict[str, Any]]:
    """The newest of those that are kept, the oldest of them first."""
    found: list[dict[str, Any]] = client.get("/requests", wanted | {"limit": str(lines)})
    return found[::-1]


def _follow(settings: Settings, client: Client, wanted: dict[str, str], lines: int) -> None:
    missed, before = 0, set[tuple[str, str]]()
    for name, value in client.stream("/requests/stream", wanted):
        if not before and lines:
            # Asked for only now that the stream runs, so that nothing is lost between the two; what is in both is told once.
            for record in kept(client, wanted, lines):
                before.add((record["time"], record["id"]))
                tell(settings, record)
            lines = 0
        if name == "missed":
            print(f"{plural(value['missed'] - missed, 'record')} missed: they came too fast", file=sys.stderr)
            missed = value["missed"]
        elif name == "request" and (value["time"], value["id"]) not in before:
            tell(settings, value)
    print("proxyd leaves", file=sys.stderr)


def tell(settings: Settings, record: dict[str, Any]) -> None:
    print(json_text(record) if settings.json else line(record, color=colored()), flush=True)
