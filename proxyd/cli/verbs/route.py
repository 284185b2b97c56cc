"""`proxyd route`: what a request, or a flow, would meet, told by the native route table, of the running daemon or of a file."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

from proxyd.admin.client import NotReachable
from proxyd.cli.decision import flow_lines_of, lines_of
from proxyd.cli.errors import CliError, Exit
from proxyd.cli.output import print_json
from proxyd.cli.settings import Settings, common, pass_settings
from proxyd.config.target import client_part, field_part, flow_parts, port_part, protocol_part, query_part, request_parts

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

if TYPE_CHECKING:
    from proxyd.config.model import Config


@click.command("route", short_help="what a request or a flow would meet, and why not the other routes")
@common
@click.argument("request", nargs=-1, required=True, metavar="[METHOD] URL")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'",
              help="A field of the request.")
@click.option("--cookie", "cookies", multiple=True, metavar="NAME=VALUE", help="A cookie of the request.")
@click.option("--client", default="", metavar="IP", help="Address of the client.")
@click.option("--alpn", multiple=True, metavar="NAME", help="Of tls://: a protocol that the client offers, like h2.")
@click.option("--listener", default="", metavar="NAME", help="Only this listener.")
@pass_settings
def command(
    settings: Settings, request: tuple[str, ...], headers: tuple[str, ...], cookies: tuple[str, ...], client: str, alpn: tuple[str, ...],
    listener: str,
) -> None:
    """What a request would meet: for each listener which route, why not the ones before it, what its policies say, and which servers wait.

    Of listeners that pass on what comes: tcp://:5432, udp://:53, tls://NAME:8443; whether the client may connect, and which servers wait.

    Asks the running daemon; without one, or with -c FILE, the route table is made from the file. Exit code 7: no route matches.
    """
    words = " ".join(request).split()
    if len(words) > 2:
        raise click.UsageError(f"one method and one URL are needed, not {len(words)} words")
    if words[0] in METHODS and len(words) == 1:
        raise click.UsageError(f"`{words[0]}` is a method, and of what? Write proxyd route {words[0]} URL, like /path or example.com/path")
    method, url = (words[0], words[1]) if len(words) == 2 else ("GET", words[0])
    try:
        flow = flow_parts(url)
        if flow is not None:
            if len(words) > 1 or headers or cookies or (alpn and flow[0] != "tls"):
                what = "no protocols but with tls://" if alpn and flow[0] != "tls" else "no method and no fields"
                raise click.UsageError(f"a flow has {what}")
            tell_flow(settings, AskedFlow(url, *flow, client_part(client), listener, tuple(map(protocol_part, alpn))))
            return
        if alpn:
            raise click.UsageError("--alpn is of tls://NAME:PORT")
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


@dataclass(frozen=True, slots=True)
class AskedFlow:
    """The flow in question."""

    url: str
    kind: Literal["tcp", "udp", "tls"]
    host: str
    port: int
    path: str
    client: str
    listener: str
    alpn: tuple[str, ...]


def tell_flow(settings: Settings, asked: AskedFlow) -> None:
    source, decisions = decide_flow(settings, asked)
    if not decisions:
        named = f" `{asked.listener}`" if asked.listener else ""
        mode = "tls_passthrough" if asked.kind == "tls" else asked.kind
        raise CliError(f"there is no listener{named} of mode {mode} that {asked.url} goes to", Exit.NOT_FOUND)
    if settings.json:
        print_json({"kind": asked.kind, "host": asked.host, "port": asked.port, "path": asked.path, "client": asked.client,
                    "alpn": asked.alpn, "source": source, "decisions": decisions})
    else:
        print("\n".join(flow_lines_of(asked.url, source, decisions, every=bool(settings.verbose))))
    if all(decision["route"] is None for decision in decisions):
        raise click.exceptions.Exit(Exit.NOT_FOUND)


def decide_flow(settings: Settings, asked: AskedFlow) -> tuple[str, list[dict[str, Any]]]:
    """As `decide`."""
    body = {"url": asked.url, "client": asked.client, "listener": asked.listener, "alpn": asked.alpn}
    found = ask_daemon(settings, body)
    if found is not None:
        return found
    from proxyd.snapshot.explain_flow import FlowQuestion, explain_flow_config

    source, config = config_of(settings)
    question = FlowQuestion(asked.kind, asked.host, asked.port, asked.path, asked.client, asked.listener, asked.alpn)
    return source, [asdict(decision) for decision in explain_flow_config(config, question)]


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
    url = asked.path + (f"?{asked.query}" if asked.query else "")
    host = f"{asked.host}:{asked.port}" if asked.port else asked.host
    body = {"method": asked.method, "host": host, "url": url, "client": asked.client, "listener": asked.listener, "headers": asked.headers}
    found = ask_daemon(settings, body)
    if found is not None:
        return found
    from proxyd.snapshot.explain import Question, explain_config

    source, config = config_of(settings)
    question = Question(asked.method, asked.host, asked.path, asked.client, asked.listener, asked.headers, asked.query, asked.port)
    return source, [asdict(decision) for decision in explain_config(config, question)]


def ask_daemon(settings: Settings, body: dict[str, Any]) -> tuple[str, list[dict[str, Any]]] | None:
    """None: the file is to be asked."""
    if settings.config:
        return None
    client = settings.client()
    try:
        return f"the daemon at {client.address}", client.post("/route/explain", body)
    except NotReachable:
        if settings.admin or settings.maybe_config_path() is None:
            raise
    return None


def config_of(settings: Settings) -> tuple[str, Config]:
    """The file and what it says."""
    from proxyd.cli.configs import load_or_fail

    path = settings.config_path()
    return str(path), load_or_fail(path)
