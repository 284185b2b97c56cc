"""`proxyd route`: what a request would meet, told by the native route table, of the running daemon or of a file."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click

from proxyd.admin.client import NotReachable
from proxyd.admin.target import client_part, field_part, port_part, query_part, request_parts
from proxyd.cli.decision import lines_of
from proxyd.cli.errors import CliError, Exit
from proxyd.cli.output import print_json
from proxyd.cli.settings import Settings, common, pass_settings


@click.command("route", short_help="what a request would meet, and why not the other routes")
@common
@click.argument("request", nargs=-1, required=True, metavar="[METHOD] URL")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'",
              help="A field of the request.")
@click.option("--cookie", "cookies", multiple=True, metavar="NAME=VALUE", help="A cookie of the request.")
@click.option("--client", default="", metavar="IP", help="Address of the client.")
@click.option("--listener", default="", metavar="NAME", help="Only this listener.")
@pass_settings
def command(
    settings: Settings, request: tuple[str, ...], headers: tuple[str, ...], cookies: tuple[str, ...], client: str, listener: str
) -> None:
    """What a request would meet: for each listener which route, why not the ones before it, what its policies say, and which servers wait.

    Asks the running daemon; without one, or with -c FILE, the route table is made from the file. Exit code 7: no route matches.
    """
    words = " ".join(request).split()
    if len(words) > 2:
        raise click.UsageError(f"one method and one URL are needed, not {len(words)} words")
    method, url = (words[0], words[1]) if len(words) == 2 else ("GET", words[0])
    try:
        fields = fields_of(headers, cookies)
        host = next((value for name, value in fields if name.lower() == "host"), "")
        parts, client = request_parts(method, url, host), client_part(client)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    others = tuple(field for field in fields if field[0].lower() != "host")
    source, decisions = decide(settings, Asked(*parts, query_part(url), others, client, listener, port_part(url, host)))
    if not decisions:
        raise CliError(f"there is no listener `{listener}`" if listener else "the config has no listener", Exit.NOT_FOUND)
    matched = any(decision["route"] is not None for decision in decisions)
    if settings.json:
        print_json({"method": parts[0], "host": parts[1], "path": parts[2], "query": query_part(url), "headers": others, "client": client,
                    "source": source, "decisions": decisions})
    else:
        print("\n".join(lines_of(parts, source, decisions, every=bool(settings.verbose))))
    if not matched:
        raise click.exceptions.Exit(Exit.NOT_FOUND)


@dataclass(frozen=True, slots=True)
class Asked:
    """The request in question."""

    method: str
    host: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    client: str
    listener: str
    port: str = ""


def fields_of(headers: Sequence[str], cookies: Sequence[str]) -> list[tuple[str, str]]:
    """The fields of the request; the cookies are one more. Raises ValueError."""
    found: list[tuple[str, str]] = []
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise ValueError(f"`{header}` is not a field; write -H 'Name: value'")
        found.append(field_part(name.strip(), value))
    for cookie in cookies:
        if not cookie.partition("=")[0].strip() or "=" not in cookie:
            raise ValueError(f"`{cookie}` is not a cookie; write --cookie NAME=VALUE")
    return [*found, field_part("Cookie", "; ".join(cookies))] if cookies else found


def decide(settings: Settings, asked: Asked) -> tuple[str, list[dict[str, Any]]]:
    """The decisions as JSON objects, and who took them: the daemon, or the file that -c names, or the file when no daemon answers."""
    if not settings.config:
        client = settings.client()
        try:
            url = asked.path + (f"?{asked.query}" if asked.query else "")
            host = f"{asked.host}:{asked.port}" if asked.port else asked.host
            body = {"method": asked.method, "host": host, "url": url, "client": asked.client, "listener": asked.listener}
            return f"the daemon at {client.address}", client.post("/route/explain", body | {"headers": asked.headers})
        except NotReachable:
            if settings.admin or settings.maybe_config_path() is None:
                raise
    from proxyd.cli.configs import load_or_fail
    from proxyd.snapshot.explain import Question, explain_config

    path = settings.config_path()
    config = load_or_fail(path)
    question = Question(asked.method, asked.host, asked.path, asked.client, asked.listener, asked.headers, asked.query, asked.port)
    return str(path), [asdict(decision) for decision in explain_config(config, question)]
