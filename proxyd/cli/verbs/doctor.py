"""`proxyd doctor`: what of this machine, the config and the running daemon may be in the way, and what to do about it."""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict

import click

from proxyd.admin.client import AdminError, Client, NotReachable
from proxyd.cli.errors import Exit
from proxyd.cli.output import paint, plural, print_json
from proxyd.cli.settings import Settings, common, pass_settings
from proxyd.doctor.finding import Finding

SIGNS = {"good": ("ok", "good"), "note": ("note", "dim"), "warning": ("warning", "warning"), "error": ("error", "error")}


@click.command("doctor", short_help="what may be in the way here, and what to do")
@common
@click.option("--strict", is_flag=True, help="Fail (exit code 4) on warnings, too.")
@pass_settings
def command(settings: Settings, strict: bool) -> None:
    """Look over the machine, the config and the running daemon. Nothing is changed.

    Exit codes: 0 nothing is wrong, 1 something is, 4 warnings with --strict.
    """
    found = list(findings(settings))
    bad = [finding for finding in found if finding.level in {"warning", "error"}]
    if settings.json:
        print_json({"ok": not bad, "findings": [asdict(finding) for finding in found]})
    else:
        shown = bad if settings.quiet else found
        for finding in shown:
            sign, style = SIGNS[finding.level]
            print(f"{paint(f'{sign:7}', style)}  {finding.subject}: {finding.text}")
            if finding.advice:
                print(f"         = help: {finding.advice}")
        if not settings.quiet:
            print(f"\n{plural(len(bad), 'finding')} to look at" if bad else "\nnothing is in the way")
    if any(finding.level == "error" for finding in found):
        raise click.exceptions.Exit(Exit.FAILED)
    if strict and bad:
        raise click.exceptions.Exit(Exit.WARNINGS)


def findings(settings: Settings) -> Iterator[Finding]:
    from proxyd.doctor import machine, service
    from proxyd.loading import load_path

    yield from machine.examine()
    path = settings.maybe_config_path()
    if path is None:
        yield Finding("note", "config", "there is none at the usual places", "name it with -c FILE")
    else:
        yield from service.examine_config(load_path(path), path)
    client = settings.client()
    yield from service.examine_socket(str(client.address))
    yield from _daemon(client)


def _daemon(client: Client) -> Iterator[Finding]:
    from proxyd.doctor import service
    from proxyd.words import own_version

    try:
        status = client.get("/status")
        text = client.send("GET", "/metrics").body.decode()
    except NotReachable as error:
        yield Finding("note", "daemon", str(error), "start it with `proxyd run`, or name its address with --admin")
        return
    except AdminError as error:
        yield Finding("error", "daemon", str(error), "run the command as the user that runs proxyd, or as root")
        return
    yield from service.examine_daemon(status, own_version())
    samples = re.findall(r"^(proxyd_log_dropped_total\S*) (\S+)$", text, re.MULTILINE)
    yield from service.examine_drops({name: float(value) for name, value in samples})
