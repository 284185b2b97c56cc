"""`proxyd run`: serve a config in the foreground."""
from __future__ import annotations

import gc
import json
from collections.abc import Sequence

import click

from proxyd.cli.settings import Settings, common, pass_settings

SUPERVISE = "--supervise"
DEMO_PATHS = (("/", "one of two origins, in turn"), ("/echo", "the request as the origin saw it"), ("/slow", "takes a second"))


@click.command("run", short_help="serve the config in the foreground")
@common
@click.option("--watch", is_flag=True, help="Reload when a file of the config changes.")
@click.option("--last-good", is_flag=True, help="When the file has errors, serve the last good config, and say so.")
@click.option("--demo", is_flag=True,
              help="Bring two small origins along (127.0.0.1:9001 and 9002); without -c, balance them on 127.0.0.1:8080.")
@click.option(SUPERVISE, is_flag=True, help="Stand over the serving process: keep its sockets, and start it again when it dies.")
@pass_settings
def command(settings: Settings, watch: bool, last_good: bool, demo: bool, supervise: bool) -> None:
    """Serve the config in the foreground.

    TERM drains and leaves (a second one, or INT: at once), HUP reloads, USR1 reopens the logs, USR2 upgrades. --admin says where the admin
    API listens.

    With --supervise a small process stays in front, for containers and shells that have no service manager.
    """
    if supervise:
        raise click.exceptions.Exit(supervise_self())
    from proxyd.cli.serving import serve_in_foreground  # the whole daemon; help and errors of usage need none of it

    if not demo:
        serve_in_foreground(settings, path=settings.config_path(), watch=watch, last_good=last_good)
        return
    from proxyd.demo import ADDRESSES, DemoOrigins

    path = settings.maybe_config_path() if settings.config else None
    text = None if path else demo_config(ADDRESSES)
    serve_in_foreground(settings, path=path, text=text, watch=watch and path is not None, services=[DemoOrigins], to_try=DEMO_PATHS)


def supervise_self() -> int:
    """The same command, without --supervise, in a process below this one. Its exit code, when it is over."""
    import asyncio

    from proxyd.logs.own import set_up_log
    from proxyd.process.program import own_command
    from proxyd.process.supervise import Supervisor

    gc.enable()

    set_up_log("info")
    return asyncio.run(Supervisor(own_command(without=SUPERVISE)).run())


def demo_config(origins: Sequence[tuple[str, int]]) -> str:
    servers = json.dumps([f"{host}:{port}" for host, port in origins])
    return f'listen: "127.0.0.1:8080"\nupstreams:\n  demo: {{servers: {servers}, health: /healthz}}\nroutes:\n  - to: demo\n'
