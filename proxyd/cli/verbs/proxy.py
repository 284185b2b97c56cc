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
@click.option("--tcp", is_flag=True, help="Pass connections on as they are: any protocol over TCP.")
@click.option("--udp", is_flag=True, help="Pass datagrams on.")
@click.option("--threads", metavar="N", default="", help="Engine threads. [default: one a CPU]")
@click.option("--log", type=click.Choice(LOGS), default="auto", show_default=True, help="Access records on standard output.")
@pass_settings
def command(
    settings: Settings, listen: str, servers: tuple[str, ...], balance: str, health: str, tcp: bool, udp: bool, threads: str, log: str
) -> None:
    """A load balancer with no config file.

    \b
        proxyd proxy :8080 127.0.0.1:9001 127.0.0.1:9002
        proxyd proxy :5432 10.0.0.1:5432 10.0.0.2:5432 --tcp
        proxyd proxy :53 10.0.0.1:53 10.0.0.2:53 --udp
    """
    from proxyd.config import load_text

    if tcp and udp:
        raise click.UsageError("--tcp or --udp, not both: they are two listeners, which a config file has room for")
    mode = "tcp" if tcp else "udp" if udp else "http"
    text = config_text(listen, servers, mode=mode, balance=balance, health=health, threads=threads, log=log)
    found = load_text(text).errors
    if found:       # the words of the command line, whatever place they have in a text that the user never saw
        raise click.UsageError("\n".join(f"{item.message}; {item.help}" if item.help else item.message for item in found))
    from proxyd.cli.serving import serve_in_foreground  # the whole daemon; help and errors of usage need none of it

    serve_in_foreground(settings, text=text)


def config_text(
    listen: str, servers: tuple[str, ...], *, mode: str = "http", balance: str = "round_robin", health: str = "", threads: str = "",
    log: str = "auto",
) -> str:
    """The config that the command line means. Words are quoted as JSON, which YAML reads the same, so none can change its structure."""
    upstream = {"servers": [with_host(server) for server in servers], "balance": balance} | ({"health": health} if health else {})
    bind = json.dumps(f":{listen}" if listen.isdigit() else listen)
    flows = mode != "http"
    lines = ["listeners:", f"  {mode}: {{bind: [{bind}], mode: {mode}, to: servers}}"] if flows else [f"listen: {bind}"]
    if threads:
        lines.append(f"runtime: {{threads: {json.dumps(threads)}}}")
    if log != "auto":
        lines.append(f"log: {{access: {'none' if log == 'none' else json.dumps({'format': log})}}}")
    routes = [] if flows else ["routes:", "  - to: servers"]
    return "\n".join([*lines, "upstreams:", f"  servers: {json.dumps(upstream)}", *routes, ""])


def with_host(server: str) -> str:
    """`9001` is a port of this machine, and a URL is taken for its address."""
    if server.isdigit():
        return f"127.0.0.1:{server}"
    found = re.fullmatch(r"http://([^/]+)/?", server)
    if not found:
        return server
    return found[1] if re.search(r":\d+$", found[1]) else f"{found[1]}:80"
