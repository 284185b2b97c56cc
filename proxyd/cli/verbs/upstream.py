"""`proxyd upstream`: servers at run time. Drain, maintenance, ready, weights; servers that come and go without a reload."""
from __future__ import annotations

from typing import Any

import click

from proxyd.cli.duration import as_seconds
from proxyd.cli.errors import CliError, Exit
from proxyd.cli.number import Number
from proxyd.cli.output import count, paint, print_json, table
from proxyd.cli.overrides import override_line
from proxyd.cli.settings import Settings, common, pass_settings
from proxyd.cli.waiting import Awaited, WaitCommand, server_path, until_idle, until_usable, upstream_path

STATE_STYLES = {"up": "good", "down": "error", "ejected": "error", "unresolved": "error"}
STATES = {"drain": "draining", "maint": "in maintenance", "ready": "ready"}

wait_option = click.option(
    "--wait", callback=as_seconds, default="0s", is_flag=False, flag_value="30s", metavar="[DURATION]",
    help="Until no request is in flight on it; 30s without a duration.")
force_option = click.option("--force", is_flag=True, help="Even if it is the last usable server.")


@click.group("upstream", short_help="upstreams and their servers: drain, ready, maint, weight, add, remove")
@common
def command() -> None:
    """Upstreams and their servers at run time.

    Changes lie on top of the config and live until they are taken back, the daemon ends, or a reload drops the server; `proxyd diff`
    shows them. A server is named UPSTREAM/ADDRESS as `proxyd upstream list` prints it.
    """


# ---------------------------------------------------------------------- looking
@command.command("list", short_help="every upstream with its servers")
@common
@pass_settings
def list_(settings: Settings) -> None:
    """Every upstream with its servers."""
    found = settings.client().get("/upstreams")
    if settings.json:
        print_json(found)
        return
    print("\n".join(line for upstream in found for line in lines_of(upstream)) or "no upstreams")


@command.command("show", short_help="one upstream, or one server of it")
@common
@click.argument("target", metavar="UPSTREAM[/SERVER]")
@pass_settings
def show(settings: Settings, target: str) -> None:
    """One upstream with its servers, or one of these, and what was changed at run time."""
    upstream, _, server = target.partition("/")
    whole = settings.client().get(upstream_path(upstream))
    found = only(whole, server) if server else whole
    if settings.json:
        print_json(found)
        return
    print("\n".join([lines_of(whole)[0], *lines_of(found)[1:], *(f"  {override_line(entry)}" for entry in found["overrides"])]))


def only(upstream: dict[str, Any], server: str) -> dict[str, Any]:
    """The upstream with this server alone, named by its label, or as the config does. Raises CliError."""
    found = upstream | {
        "servers": [entry for entry in upstream["servers"] if server in (entry["label"], entry["source"])],
        "leaving": [entry for entry in upstream["leaving"] if entry["label"] == server],
        "overrides": [entry for entry in upstream["overrides"] if entry["server"] == server],
    }
    if not found["servers"] and not found["leaving"]:
        labels = ", ".join(f"`{entry['label']}`" for entry in upstream["servers"]) or "none"
        raise CliError(f"upstream {upstream['name']} has no server `{server}`; it has {labels}", Exit.NOT_FOUND, code="PXD-221")
    return found


def _flows_text(flows: int) -> str:
    return f", {count(flows)} {'flow' if flows == 1 else 'flows'} so far" if flows else ""


def lines_of(upstream: dict[str, Any]) -> list[str]:
    """Its head, and a line for each server."""
    servers = upstream["servers"]
    head = f"{upstream['name']}: {upstream['usable']}/{len(servers)} usable, {upstream['balance']}"
    head += f"; {paint(upstream['warning'], 'warning')}" if upstream["warning"] else ""
    rows = [
        [
            f"{upstream['name']}/{server['label']}",
            paint(server["state"], STATE_STYLES.get(server["state"], "warning")),
            f"weight {server['weight']}{', backup' if server['backup'] else ''}",
            f"{count(server['in_flight'])} in flight{_flows_text(server['flows'])}",
            ", ".join(part for part in (server["source"] if server["source"] != server["label"] else "", server["reason"]) if part),
        ]
        for server in servers
    ]
    rows += [[f"{upstream['name']}/{server['label']}", "leaving", "", f"{count(server['in_flight'])} in flight", "removed"]
             for server in upstream["leaving"]]
    return [head, *table(rows)]


# ---------------------------------------------------------------------- states
@command.command("drain", cls=WaitCommand, short_help="no new requests; what is under way finishes")
@common
@click.argument("target", metavar="UPSTREAM/SERVER")
@wait_option
@force_option
@pass_settings
def drain(settings: Settings, target: str, wait: float, force: bool) -> None:
    """No new requests; what is under way finishes, sticky sessions move on. Exit code 1: not idle when the wait is over."""
    take_out(settings, target, "drain", wait, force=force)


@command.command("maint", cls=WaitCommand, short_help="as drain, and said to be in maintenance")
@common
@click.argument("target", metavar="UPSTREAM/SERVER")
@wait_option
@force_option
@pass_settings
def maint(settings: Settings, target: str, wait: float, force: bool) -> None:
    """As drain, and said to be in maintenance; only `ready` brings it back, no health check does."""
    take_out(settings, target, "maint", wait, force=force)


def take_out(settings: Settings, target: str, state: str, wait: float, *, force: bool) -> None:
    upstream, server = parts_of(target)
    client = settings.client()
    answer = client.send_json("PATCH", server_path(upstream, server), {"state": state}, force_query(force)).json()
    tell(settings, answer, f"{target} is {STATES[state]}", waits=bool(wait))
    if wait:
        finish(settings, answer, target, until_idle(client, upstream, answer["servers"], wait, quiet=settings.quiet or settings.json))


@command.command("ready", cls=WaitCommand, short_help="requests may go to it again")
@common
@click.argument("target", metavar="UPSTREAM/SERVER")
@click.option("--wait", callback=as_seconds, default="0s", is_flag=False, flag_value="30s", metavar="[DURATION]",
              help="Until requests may go to it (its health check has passed); 30s without a duration.")
@pass_settings
def ready(settings: Settings, target: str, wait: float) -> None:
    """Requests may go to it again; drain and maintenance are over, and its slow start begins where the upstream has one."""
    upstream, server = parts_of(target)
    client = settings.client()
    answer = client.send_json("PATCH", server_path(upstream, server), {"state": "ready"}).json()
    tell(settings, answer, f"{target} is ready", waits=bool(wait))
    if wait:
        finish(settings, answer, target, until_usable(client, upstream, answer["servers"], wait))


@command.command("weight", short_help="its share of the requests")
@common
@click.argument("target", metavar="UPSTREAM/SERVER")
@click.argument("weight", type=Number(1, 65_535), metavar="N")
@pass_settings
def weight(settings: Settings, target: str, weight: int) -> None:
    """Its share of the requests, against the other servers' weights. The config's own weight ends the override."""
    answer = settings.client().send_json("PATCH", server_path(*parts_of(target)), {"weight": weight}).json()
    tell(settings, answer, f"{target} has weight {weight}")


# ---------------------------------------------------------------------- membership
@command.command("add", short_help="add a server, or take one back")
@common
@click.argument("upstream", metavar="UPSTREAM")
@click.argument("address", metavar="ADDRESS")
@click.option("--weight", type=Number(1, 65_535), metavar="N", help="Its share of the requests. [default: 1]")
@click.option("--backup", is_flag=True, default=None, help="Used only while no other server is usable.")
@click.option("--priority", type=int, metavar="N", help="Its tier; the lowest with a usable server gets the requests. [default: 0]")
@click.option("--zone", metavar="NAME", help="Where it is.")
@click.option("--max-requests", type=int, metavar="N", help="Requests at a time. [default: no bound]")
@pass_settings
def add(settings: Settings, /, upstream: str, address: str, **traits: Any) -> None:
    """Add a server, or take back one of the config that was removed. It is checked before it gets requests."""
    server = {"address": address} | {name: value for name, value in traits.items() if value is not None}
    answer = settings.client().send_json("POST", f"{upstream_path(upstream)}/servers", server).json()
    tell(settings, answer, str(answer["text"]))


@command.command("remove", cls=WaitCommand, short_help="remove a server")
@common
@click.argument("target", metavar="UPSTREAM/SERVER")
@wait_option
@force_option
@pass_settings
def remove(settings: Settings, target: str, wait: float, force: bool) -> None:
    """Remove a server; what is under way on it finishes. Exit code 1: not idle when the wait is over."""
    upstream, server = parts_of(target)
    client = settings.client()
    answer = client.send_json("DELETE", server_path(upstream, server), query=force_query(force)).json()
    tell(settings, answer, f"{target} is removed", waits=bool(wait))
    if wait:
        finish(settings, answer, target, until_idle(client, upstream, answer["servers"], wait, quiet=settings.quiet or settings.json))


# ---------------------------------------------------------------------- shared
def parts_of(target: str) -> tuple[str, str]:
    """`api/unix:/run/x.sock` is the server `unix:/run/x.sock` of `api`."""
    upstream, slash, server = target.partition("/")
    if not slash or not upstream or not server:
        raise click.UsageError(f"`{target}` names no server; write UPSTREAM/SERVER as `proxyd upstream list` prints it")
    return upstream, server


def force_query(force: bool) -> dict[str, str]:
    return {"force": "1"} if force else {}


def tell(settings: Settings, answer: dict[str, Any], sentence: str, *, waits: bool = False) -> None:
    """What became of the order. With --json and --wait the end of the waiting is told instead."""
    if settings.json:
        if not waits:
            print_json(answer)
    elif not settings.quiet:
        print(sentence + ("" if answer["changed"] else " already"))


def finish(settings: Settings, answer: dict[str, Any], target: str, end: Awaited) -> None:
    """Tell how the waiting ended; exit code 1 when it did not end well."""
    if settings.json:
        print_json({"ok": end.ok, "changed": answer["changed"], "text": answer["text"], "in_flight": end.in_flight,
                    "seconds": round(end.seconds, 3), "stragglers": [straggler.as_dict() for straggler in end.stragglers]})
        if not end.ok:
            raise click.exceptions.Exit(Exit.FAILED)
        return
    if not end.ok:
        shown = "\n".join(f"  {straggler.line()}" for straggler in end.stragglers)
        busy = f": {count(end.in_flight)} in flight" if end.in_flight else ""
        raise CliError(f"{target} is not {end.goal} after {end.seconds:.1f} s{busy}", Exit.FAILED, shown=shown)
    if not settings.quiet:
        print(f"{target} is {end.goal} after {end.seconds:.1f} s")
