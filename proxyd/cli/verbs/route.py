"""`proxyd route`: what a request would meet, told by the native route table, of the running daemon or of a file."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from proxyd.admin.client import NotReachable
from proxyd.admin.target import client_part, request_parts
from proxyd.cli.errors import CliError, Exit
from proxyd.cli.output import ago, paint, plural, print_json, table
from proxyd.cli.settings import Settings, common, pass_settings

WHY_NOT_SHOWN = 12
STATE_STYLES = {"up": "good", "unknown": "dim"}


@click.command("route", short_help="what a request would meet, and why not the other routes")
@common
@click.argument("request", nargs=-1, required=True, metavar="[METHOD] URL")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'",
              help="A field of the request; Host is what routes look at.")
@click.option("--client", default="", metavar="IP", help="Address of the client, which policies may look at.")
@click.option("--listener", default="", metavar="NAME", help="Only this listener.")
@pass_settings
def command(settings: Settings, request: tuple[str, ...], headers: tuple[str, ...], client: str, listener: str) -> None:
    """What a request would meet: for each listener which route, why not the ones before it, what its policies say, and which servers wait.

    Asks the running daemon; without one, or with -c FILE, the route table is made from the file. Exit code 7: no route matches.
    """
    words = " ".join(request).split()
    if len(words) > 2:
        raise click.UsageError(f"one method and one URL are needed, not {len(words)} words")
    method, url = (words[0], words[1]) if len(words) == 2 else ("GET", words[0])
    host = host_of(headers)
    try:
        parts, client = request_parts(method, url, host), client_part(client)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    source, decisions = decide(settings, parts, client, listener)
    if not decisions:
        raise CliError(f"there is no listener `{listener}`" if listener else "the config has no listener", Exit.NOT_FOUND)
    matched = any(decision["route"] is not None for decision in decisions)
    if settings.json:
        print_json({"method": parts[0], "host": parts[1], "path": parts[2], "client": client, "source": source, "decisions": decisions})
    else:
        print("\n".join(lines_of(parts, source, decisions, every=bool(settings.verbose))))
    if not matched:
        raise click.exceptions.Exit(Exit.NOT_FOUND)


def host_of(headers: Sequence[str]) -> str:
    found = ""
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise click.UsageError(f"`{header}` is not a field; write -H 'Name: value'")
        if name.strip().lower() == "host":
            found = value.strip()
    return found


def decide(settings: Settings, parts: tuple[str, str, str], client_ip: str, listener: str) -> tuple[str, list[dict[str, Any]]]:
    """The decisions as JSON objects, and who took them: the daemon, or the file that -c names, or the file when no daemon answers."""
    if not settings.config:
        client = settings.client()
        try:
            body = {"method": parts[0], "host": parts[1], "url": parts[2], "client": client_ip, "listener": listener}
            return f"the daemon at {client.address}", client.post("/route/explain", body)
        except NotReachable:
            if settings.admin or settings.maybe_config_path() is None:
                raise
    from proxyd.cli.configs import load_or_fail
    from proxyd.snapshot.explain import Question, explain_config

    path = settings.config_path()
    config = load_or_fail(path)
    return str(path), [asdict(decision) for decision in explain_config(config, Question(*parts, client_ip, listener))]


def lines_of(parts: tuple[str, str, str], source: str, decisions: list[dict[str, Any]], *, every: bool = False) -> list[str]:
    method, host, path = parts
    lines = [f"{method} {host}{path}  {paint(f'(by {source})', 'dim')}"]
    for decision, addresses in by_listener(decisions):
        where = f"{decision['listener']} {', '.join(addresses)}"
        if decision["route"] is None:
            lines.append(f"  {where}: {paint(decision['action'], 'error')}")
        else:
            lines.append(f"  {where}: route {paint(decision['route'], 'good')}, {decision['action']}")
        if decision["path"] != path and decision["route"] is not None:
            lines.append(f"      path as routed: {decision['path']}")
        lines += [f"      {line}" for line in why_not_lines(decision["why_not"], every=every)]
        refused = False
        for policy in decision["policies"]:
            refused |= policy["refuses"]
            lines.append(f"      policy {policy['name']}: {paint(policy['text'], 'error') if policy['refuses'] else policy['text']}")
        if not refused:
            lines += [line for target in decision["targets"] for line in target_lines(target)]
    return lines


def by_listener(decisions: list[dict[str, Any]]) -> list[tuple[dict[str, Any], list[str]]]:
    """What the addresses of one listener decide is told once, with all of them."""
    found: list[tuple[dict[str, Any], list[str]]] = []
    for decision in decisions:
        address = decision["address"]
        if found and found[-1][0] | {"address": address} == decision:
            found[-1][1].append(address)
        else:
            found.append((decision, [address]))
    return found


def why_not_lines(why_not: list[tuple[str, list[str]]], *, every: bool) -> list[str]:
    """The routes before the one that matches. Of many, the nearest misses: those of which only the path or the like differs."""
    fewest = {name for name, _ in sorted(why_not, key=lambda entry: len(entry[1]))[:WHY_NOT_SHOWN]}
    lines = [
        f"not {name}: {' and '.join(differing)} {'differs' if len(differing) == 1 else 'differ'}"
        for name, differing in why_not
        if every or name in fewest
    ]
    left = len(why_not) - len(lines)
    return [*lines, f"nor {plural(left, 'other route')} (-v tells of all)"] if left else lines


def target_lines(target: dict[str, Any]) -> list[str]:
    """`95% to app by p2c:` and a line for each server."""
    servers = target["servers"]
    head = f"      {percent(target['share'])}{target['upstream']}: {plural(len(servers), 'server')}, chosen by {target['balance']}"
    rows = [
        [server["label"], traits(server), paint(server["state"], STATE_STYLES.get(server["state"], "error")), why(server)]
        for server in servers
    ]
    if all(server["state"] == "unknown" for server in servers):      # from a file: nobody knows
        rows = [row[:2] for row in rows]
    return [head, *table(rows, indent=" " * 10)]


def percent(share: float) -> str:
    """`95% `; nothing for the whole."""
    return "" if share == 1 else f"{share * 100:.3g}% "


def traits(server: dict[str, Any]) -> str:
    words = [] if server["source"] == server["label"] else [f"of {server['source']}"]
    words += [f"weight {server['weight']}"] if server["weight"] != 1 else []
    return ", ".join([*words, "backup"] if server["backup"] else words)


def why(server: dict[str, Any]) -> str:
    long = f"for {ago(server['since']).removesuffix(' ago')}" if server["since"] and server["state"] != "up" else ""
    return ", ".join(words for words in (server["reason"], long) if words)
