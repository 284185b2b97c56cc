"""`proxyd proxy`: a load balancer with no config file. What it serves is a config nevertheless: `proxyd show config --running`."""
from __future__ import annotations

import json
import re

import click

from proxyd.cli.settings import Settings, common, pass_settings

LOGS = ("auto", "json", "combined", "pretty", "none")
BALANCES = ("round_robin", "least_conn", "p2c", "random")


@click.command("proxy", short_help="a load balancer with no config file")
@common
@click.argument("listen", metavar="[HOST]:PORT")
@click.argument("servers", nargs=-1, required=True, metavar="HOST:PORT...")
@click.option("--balance", type=click.Choice(BALANCES), default="round_robin", show_default=True, help="How a server is chosen.")
@click.option("--health", metavar="PATH", default="", help="Check the servers by asking for this path.")
@click.option("--threads", metavar="N", default="", help="Engine threads. [default: one a CPU]")
@click.option("--log", type=click.Choice(LOGS), default="auto", show_default=True, help="Access records on standard output.")
@pass_settings
def command(settings: Settings, listen: str, servers: tuple[str, ...], balance: str, health: str, threads: str, log: str) -> None:
    """A load balancer with no config file.

    \b
        proxyd proxy :8080 127.0.0.1:9001 127.0.0.1:9002
    """
    from proxyd.config import load_text

    text = config_text(listen, servers, balance=balance, health=health, threads=threads, log=log)
    found = load_text(text).errors
    if found:       # the words of the command line, whatever place they have in a text that the user never saw
        raise click.UsageError("\n".join(f"{item.message}; {item.help}" if item.help else item.message for item in found))
    from proxyd.cli.serving import serve_in_foreground  # the whole daemon; help and errors of usage need none of it

    serve_in_foreground(settings, text=text)


def config_text(
    listen: str, servers: tuple[str, ...], *, balance: str = "round_robin", health: str = "", threads: str = "", log: str = "auto"
) -> str:
    """The config that the command line means. Words are quoted as JSON, which YAML reads the same, so none can change its structure."""
    upstream = {"servers": [with_host(server) for server in servers], "balance": balance} | ({"health": health} if health else {})
    lines = [f"listen: {json.dumps(f':{listen}' if listen.isdigit() else listen)}"]
    if threads:
        lines.append(f"runtime: {{threads: {json.dumps(threads)}}}")
    if log != "auto":
        lines.append(f"log: {{access: {'none' if log == 'none' else json.dumps({'format': log})}}}")
    return "\n".join([*lines, "upstreams:", f"  servers: {json.dumps(upstream)}", "routes:", "  - to: servers", ""])


def with_host(server: str) -> str:
    """`9001` is a port of this machine, and a URL is taken for its address."""
    if server.isdigit():
        return f"127.0.0.1:{server}"
    found = re.fullmatch(r"http://([^/]+)/?", server)
    if not found:
        return server
    return found[1] if re.search(r":\d+$", found[1]) else f"{found[1]}:80"
