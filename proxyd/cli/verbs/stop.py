"""`proxyd stop`: the daemon drains and leaves; the command returns when it has gone."""
from __future__ import annotations

import time

import click

from proxyd.admin.client import Client, NotReachable, TimedOut
from proxyd.cli.duration import as_seconds
from proxyd.cli.errors import CliError, Exit
from proxyd.cli.output import duration, plural, print_json
from proxyd.cli.settings import Settings, common, pass_settings

POLL_S = 0.1
POLL_TIMEOUT_S = 1.0


@click.command("stop", short_help="make the running daemon drain and leave")
@common
@click.option("--now", is_flag=True, help="Cut off what is in flight instead of letting it finish.")
@click.option("--wait", callback=as_seconds, default="2m", metavar="DURATION", show_default=True,
              help="How long to wait until it has gone; 0s: not at all.")
@pass_settings
def command(settings: Settings, now: bool, wait: float) -> None:
    """Make the running daemon drain and leave."""
    client = settings.client()
    before = client.get("/status")
    client.post("/stop", {"now": now})
    under_way = plural(sum(listener["in_flight"] for listener in before["listeners"]), "request")
    if flows := sum(engine["flows"] for engine in before["engines"]):
        under_way += f" and {plural(flows, 'flow')}"
    began = time.monotonic()
    if not settings.quiet and not settings.json:
        print(f"stopping proxyd (pid {before['pid']})" + (", at once" if now else f"; {under_way} in flight may finish"))
    gone = wait_until_gone(Client(client.address, POLL_TIMEOUT_S), wait) if wait else False
    seconds = time.monotonic() - began
    if settings.json:
        print_json({"ok": gone or not wait, "pid": before["pid"], "now": now, "stopped": gone, "seconds": round(seconds, 3)})
    elif gone and not settings.quiet:
        print(f"stopped after {duration(seconds)}")
    if wait and not gone:
        if settings.json:
            raise click.exceptions.Exit(Exit.FAILED)
        raise CliError(f"proxyd (pid {before['pid']}) still drains after {wait:g} s", hint="`proxyd stop --now` cuts off what is in flight")


def wait_until_gone(client: Client, seconds: float) -> bool:
    """Ask until nobody answers. The admin API is the last thing that a daemon closes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            client.get("/live", accept=frozenset({503}))
        except TimedOut:
            continue
        except NotReachable:
            return True
        time.sleep(POLL_S)
    return False
