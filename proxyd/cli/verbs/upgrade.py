"""`proxyd upgrade`: a new process of the program that is installed now takes over from the running one."""
from __future__ import annotations

import click

from proxyd.admin.client import Refused, TimedOut
from proxyd.cli.duration import as_some_seconds
from proxyd.cli.errors import CliError, Exit
from proxyd.cli.output import duration, plural, print_json
from proxyd.cli.settings import Settings, common, pass_settings


@click.command("upgrade", short_help="have a new process take over, without a refused connection")
@common
@click.option("--wait", callback=as_some_seconds, default="1m", metavar="DURATION", show_default=True,
              help="How long to wait until the new process serves; it is given 30 s itself.")
@pass_settings
def command(settings: Settings, wait: float) -> None:
    """Have a new process take over, with the program and the config file that are installed now.

    It gets all listening sockets; once it serves, the old one drains and leaves. No connection is refused. When the new one does not come
    up, the old one serves on, what the new one said is printed, and the exit code is 1.

    Drained servers and other changes at run time go over to the new process. After a rollback it serves what was gone back to, too, unless
    the file was changed since. The cache is passed on by its snapshot (`cache.memory.snapshot`), else the new one begins with an empty one.
    """
    client = settings.client(timeout_s=wait)
    before = client.get("/status")
    try:
        result = client.post("/upgrade")
    except Refused as refusal:
        raise CliError(str(refusal), Exit.FAILED, code=refusal.code, shown=str(refusal.problem.get("output", ""))) from refusal
    except TimedOut as error:
        raise CliError(f"no new process served after {wait:g} s; `proxyd status` tells who does", Exit.FAILED) from error
    if settings.json:
        print_json({"ok": True, **result})
    elif not settings.quiet:
        under_way = plural(sum(listener["in_flight"] for listener in before["listeners"]), "request")
        print(f"upgraded: process {result['pid']} serves after {duration(result['seconds'])}; "
              f"process {result['predecessor']} drains ({under_way} when asked)")
