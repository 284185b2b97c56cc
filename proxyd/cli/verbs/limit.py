"""`proxyd limit`: limits and their busiest keys, the places of routes, what a limit says to one key, and forgetting."""
from __future__ import annotations

from urllib.parse import quote

import click

from proxyd.cli.errors import CliError, Exit
from proxyd.cli.limited import line_of_key, lines_of_limit, lines_of_limits
from proxyd.cli.output import plural, print_json
from proxyd.cli.settings import Settings, common, pass_settings


@click.group("limit", short_help="limits, their busiest keys and the places of routes: list, show, reset")
@common
def command() -> None:
    """Limits by key, the places of routes, and what is shared with other proxies."""


@command.command("list", short_help="every limit, and the places of routes")
@common
@pass_settings
def list_(settings: Settings) -> None:
    """Every limit with what it decided, the places of routes, and the busiest keys."""
    found = settings.client().get("/limits")
    if settings.json:
        print_json(found)
        return
    print("\n".join(lines_of_limits(found, top=bool(settings.verbose))))


@command.command("show", short_help="one limit with its busiest keys, or a key")
@common
@click.argument("policy", metavar="POLICY")
@click.argument("key", nargs=-1, metavar="[KEY]...")
@pass_settings
def show(settings: Settings, policy: str, key: tuple[str, ...]) -> None:
    """One limit with its busiest keys; with KEY (a text for each part that it counts by): what it says to that key.

    \b
        proxyd limit show per-ip
        proxyd limit show per-ip 192.0.2.1
        proxyd limit show plan:gold alice
    """
    found = settings.client().get(_path(policy), [("key", text) for text in key])
    if settings.json:
        print_json(found)
    elif key:
        print(line_of_key(found))
    else:
        print("\n".join(lines_of_limit(found)))


@command.command("reset", short_help="forget a key, or all of them")
@common
@click.argument("policy", metavar="POLICY")
@click.argument("key", nargs=-1, metavar="[KEY]...")
@pass_settings
def reset(settings: Settings, policy: str, key: tuple[str, ...]) -> None:
    """Forget a key, or all without KEY: what it took is given back, a ban ends."""
    done = settings.client().post(f"{_path(policy)}/reset", {"key": list(key)})
    if settings.json:
        print_json(done)
        return
    if not settings.quiet:
        print(f"{policy}: {plural(done['forgotten'], 'key')} forgotten")
    if done["everywhere"] is False:
        raise CliError("the shared store was not reached: what other proxies have counted stands", Exit.FAILED)


def _path(policy: str) -> str:
    return f"/limits/{quote(policy, safe='')}"
