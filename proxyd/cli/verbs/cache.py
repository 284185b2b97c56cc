"""`proxyd cache`: what it holds, why something is not in it, and purges."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from proxyd.cli.cached import lines_of_object, lines_of_stats, lines_of_why
from proxyd.cli.errors import CliError, Exit
from proxyd.cli.output import plural, print_json
from proxyd.cli.settings import Settings, common, pass_settings

PURGE_TIMEOUT = 60.0      # seconds: of everything in a large store


@click.group("cache", short_help="what the cache holds and why not; purges: stats, get, why, purge")
@common
def command() -> None:
    """The cache: what it holds and does, why something is not in it, and purges."""


@command.command("stats", short_help="hit ratio, memory, evictions, for each route")
@common
@pass_settings
def stats(settings: Settings) -> None:
    """Hit ratio, memory, evictions, tiers; for each route; and what another size would bring."""
    found = settings.client().get("/cache")
    if settings.json:
        print_json(found)
        return
    print("\n".join(lines_of_stats(found)))


@command.command("get", short_help="what is stored under a URL")
@common
@click.argument("url", metavar="URL")
@pass_settings
def get(settings: Settings, url: str) -> None:
    """What is stored under a URL, every variant. Exit code 7: nothing is."""
    found = settings.client().get("/cache/objects", {"url": url})
    if settings.json:
        print_json(found)
    elif found["objects"]:
        print("\n".join(line for entry in found["objects"] for line in lines_of_object(entry)))
    else:
        raise CliError(f"nothing is stored under {url}", Exit.NOT_FOUND, hint=f"`proxyd cache why {url}` tells why")
    if not found["objects"]:
        raise click.exceptions.Exit(Exit.NOT_FOUND)


@command.command("why", short_help="why something is stored, or not")
@common
@click.argument("url", metavar="URL")
@click.option("-H", "--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="A field of the request.")
@click.option("--client", default="", metavar="IP", help="Address of the client.")
@click.option("--listener", default="", metavar="NAME", help="Only this listener.")
@pass_settings
def why(settings: Settings, url: str, headers: tuple[str, ...], client: str, listener: str) -> None:
    """What is stored under a URL, or why nothing is: which route would answer, its key, and what was found out about the answer.

    Exit code 7: nothing is stored.
    """
    words = {"url": url, "client": client, "listener": listener}
    query = [(name, value) for name, value in words.items() if value] + [("header", header) for header in headers]
    found = settings.client().get("/cache/why", query)
    if settings.json:
        print_json(found)
    else:
        print("\n".join(lines_of_why(found)))
    if found["verdict"] not in ("fresh", "stale", "filling"):
        raise click.exceptions.Exit(Exit.NOT_FOUND)


@command.command("purge", short_help="by URL, prefix, tag, host, or all")
@common
@click.argument("address", metavar="[URL]", required=False)
@click.option("--url", "urls", multiple=True, metavar="URL", help="This URL, all its variants; both schemes without http:// or https://.")
@click.option("--prefix", "prefixes", multiple=True, metavar="URL", help="All URLs that begin so.")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="All answers with this tag (Surrogate-Key, Cache-Tag).")
@click.option("--host", "hosts", multiple=True, metavar="HOST[:PORT]", help="All answers of this host.")
@click.option("--all", "everything", is_flag=True, help="Everything.")
@click.option("--soft", is_flag=True, help="Mark as stale instead of removing: may be served while it is fetched again.")
@pass_settings
def purge(settings: Settings, /, address: str | None, everything: bool, soft: bool, **texts: tuple[str, ...]) -> None:
    """Purge by URL, prefix, tag, host, or everything; in effect on every engine when the command ends.

    \b
        proxyd cache purge example.com/logo.png
        proxyd cache purge --tag product-17 --tag product-18 --soft
        proxyd cache purge --prefix https://example.com/static/
    """
    order = order_of(address, everything=everything, texts=texts)
    answer = settings.client(PURGE_TIMEOUT).post("/cache/purge", order | ({"soft": True} if soft else {}))
    if settings.json:
        print_json(answer)
        return
    if not settings.quiet:
        print(f"{plural(answer['purged'], 'object')} {'marked as stale' if soft else 'purged'}")
    if answer["spread"] is False:
        raise CliError("the shared tier was not reached: other nodes may still serve it", Exit.FAILED)


def order_of(address: str | None, *, everything: bool, texts: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """The order as the admin API takes it: one kind, one text or several."""
    kinds = (("url", "urls"), ("prefix", "prefixes"), ("tag", "tags"), ("host", "hosts"))
    named: dict[str, Any] = {kind: list(texts[many]) for kind, many in kinds if texts[many]}
    if address is not None:
        named["url"] = [*named.get("url", []), address]
    if everything:
        named["all"] = True
    if len(named) != 1:
        raise click.UsageError(
            "what is to be purged? Give a URL, --prefix, --tag, --host or --all" if not named
            else f"one kind at a time, not {' and '.join(f'--{kind}' for kind in named)}")
    return named
