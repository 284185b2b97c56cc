"""The program `proxyd`: the list of verbs, imported when used, and the last line against tracebacks."""
from __future__ import annotations

import difflib
import errno
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

from proxyd.cli.errors import CliError, Exit
from proxyd.cli.settings import Settings, common, own_first, settings_of

VERBS: dict[str, str] = {
    "proxy": "a load balancer with no config file: proxyd proxy :8080 HOST:PORT...",
    "run": "serve the config in the foreground",
    "check": "find every error in the config, without serving it",
    "show": "show the config in its canonical form",
    "reload": "make the running daemon take its config again",
    "confirm": "keep the config that is on trial",
    "rollback": "serve an earlier config again",
    "history": "the configs that served, and those that were refused",
    "diff": "what a reload would change, and what was changed at run time",
    "status": "what is wrong now, and how busy listeners, routes and upstreams are",
    "top": "the same live, to sort, filter, drain and make ready",
    "logs": "requests that were kept, and with -f those that come",
    "why": "what was decided for a past request, step by step",
    "route": "what a request would meet, and why not the other routes",
    "upstream": "upstreams and their servers: drain, ready, maint, weight, add, remove",
    "cache": "what the cache holds and why not; purges: stats, get, why, purge",
    "auth": "who is known, and usage of quotas: list, usage, revoke",
    "limit": "limits, their busiest keys and the places of routes: list, show, reset",
    "import": "the config of another proxy as one of proxyd's: nginx FILE",
    "metrics": "the Prometheus metrics of the running daemon, and what they mean",
    "audit": "who changed what, and whether the record of it is whole: show, verify",
    "schema": "the JSON Schema of the config, for editors",
    "explain": "what an option or an error code means",
    "doctor": "what may be in the way here, and what to do",
    "healthcheck": "0 when traffic may come, else 1",
    "stop": "make the running daemon drain and leave",
    "upgrade": "have a new process take over, without a refused connection",
    "completion": "a script for the shell: bash, zsh, fish",
    "version": "versions of proxyd and what it runs on",
}
"""Every verb with its line in `proxyd --help`; `verbs/NAME.py` holds its command. Help is shown without importing any of them."""

HELP_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Root(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"proxyd.cli.verbs.{cmd_name}").command
        assert isinstance(command, click.Command)
        own_first(command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Of the verbs, without importing any of them."""
        found = [CompletionItem(name, help=line) for name, line in VERBS.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-") and not ctx.resilient_parsing:     # that is completion
            near = difflib.get_close_matches(args[0], VERBS, n=1)
            help_ = f"did you mean `proxyd {near[0]}`?" if near else "`proxyd --help` lists the commands."
            raise click.UsageError(f"there is no command `{args[0]}`; {help_}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, click.UsageError, KeyboardInterrupt):
            raise
        except Exception as error:
            found, settings = explain_failure(error), settings_of(ctx)
            if found.exit == Exit.NOT_REACHABLE and settings.lacks_config():
                found.hint = f"there is no `{settings.config}`, which would name the daemon's address; {found.hint}"
            found.show(as_json=settings.json)
            raise click.exceptions.Exit(found.exit) from error


@click.group(cls=Root, invoke_without_command=True, context_settings=HELP_SETTINGS)
@common
@click.option("--version", is_flag=True, help="Print the version and leave.")
@click.pass_context
def root(ctx: click.Context, version: bool) -> None:
    """A load balancer and cache proxy: one YAML file, live reload, a native data plane.

    Without a command: what is running, and the five commands one needs.
    """
    if ctx.invoked_subcommand is not None:
        return
    module = importlib.import_module("proxyd.cli.verbs.version" if version else "proxyd.cli.overview")
    ctx.invoke(module.command)


def explain_failure(error: Exception) -> CliError:
    """Any exception as a sentence with an exit code. `PROXYD_TRACEBACK=1` keeps the trace, for those who work on proxyd."""
    from proxyd.admin.client import AdminError, NotPermitted, NotReachable, Refused

    if isinstance(error, CliError):
        return error
    if isinstance(error, click.ClickException):
        return CliError(error.format_message())
    if isinstance(error, NotReachable):
        beside = f"; there is --admin {' and '.join(map(str, error.others))}" if error.others else ""
        hint = f"start it with `proxyd run`, or name its address with --admin{beside}"
        return CliError(str(error), Exit.NOT_REACHABLE, code="PXD-249", hint=hint)
    if isinstance(error, NotPermitted):
        return CliError(str(error), Exit.NOT_PERMITTED, code="PXD-246")
    if isinstance(error, Refused):
        permission = Exit.NOT_PERMITTED
        exit_ = {400: Exit.USAGE, 401: permission, 403: permission, 404: Exit.NOT_FOUND, 429: permission}.get(error.status, Exit.FAILED)
        hint = "name a user: --admin http://USER@HOST:PORT, with the password in $PROXYD_ADMIN_PASSWORD" if error.status == 401 else ""
        return CliError(str(error), exit_, code=error.code, hint=hint, diagnostics=error.diagnostics)
    if isinstance(error, AdminError):
        return CliError(str(error))
    if os.environ.get("PROXYD_TRACEBACK"):
        raise error
    if isinstance(error, OSError):
        if error.errno == errno.EPIPE:
            raise error                              # click leaves quietly: the reader of our output has gone
        place = f"{error.filename}: " if error.filename else ""
        return CliError(f"{place}{(error.strerror or str(error)).lower()}")
    return CliError(
        f"proxyd met an error of its own: {type(error).__name__}: {error}",
        hint="please report it, with the trace that PROXYD_TRACEBACK=1 in the environment shows",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and leave the interpreter with its exit code."""
    gc.disable()      # imports make no garbage, and walking them takes a tenth of a start; commands that stay turn it on again
    try:
        root.main(args=list(sys.argv[1:] if arguments is None else arguments), prog_name="proxyd", obj=Settings())
    except Exception as error:
        if os.environ.get("PROXYD_TRACEBACK"):
            raise
        found = explain_failure(error)
        found.show()
        sys.exit(found.exit)
