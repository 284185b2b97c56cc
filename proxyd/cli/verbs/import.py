"""`proxyd import`: the config of another proxy as one of proxyd's, and a report of what is different in it."""
from __future__ import annotations

import sys
from pathlib import Path

import click

from proxyd.cli.errors import CliError, Exit
from proxyd.cli.output import paint, plural, print_json
from proxyd.cli.settings import Settings, common, pass_settings
from proxyd.codes import NOT_IMPORTED, NOT_READ
from proxyd.importing.report import Kind, Report

_HEADINGS: tuple[tuple[Kind, str], ...] = (("changed", "translated with a difference"), ("left out", "not translated"))


def _nginx(ctx: click.Context, parameter: click.Parameter, kind: str) -> str:
    """Before the file is looked for: it would be the wrong complaint."""
    if kind != "nginx":
        known = "only nginx's config can be imported" if kind in ("haproxy", "caddy") else "it takes the word `nginx` and a file"
        raise CliError(f"`proxyd import {kind}` is not there: {known}", Exit.USAGE, code=NOT_IMPORTED.code, hint="proxyd import nginx FILE")
    return kind


@click.command("import", short_help="the config of another proxy as one of proxyd's: nginx FILE")
@common
@click.argument(
    "kind", metavar="nginx", callback=_nginx, expose_value=False,
    shell_complete=lambda context, argument, begun: ["nginx"] if "nginx".startswith(begun) else [],
)
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the config there instead of to stdout.")
@click.option("--strict", is_flag=True, help="Fail (exit code 4) when something was not translated.")
@pass_settings
def command(settings: Settings, file: Path, output: Path | None, strict: bool) -> None:
    """Translate an nginx config, with all that it includes, into one of proxyd's.

    The config goes to stdout, or to -o; what is different in it, or not in it, is told on stderr.
    """
    from proxyd.importing.nginx.build import import_nginx
    from proxyd.importing.nginx.tree import NotRead

    try:
        imported = import_nginx(file)
    except NotRead as error:
        raise CliError(str(error), Exit.CONFIG_INVALID, code=NOT_READ.code, hint="`nginx -t` tells what it is about") from None
    if output is not None:
        output.write_text(imported.text)
    if settings.json:
        print_json({"config": imported.text, "findings": [one.as_dict() for one in imported.report.findings]})
    else:
        print(imported.text if output is None else "", end="")
        if not settings.quiet:
            show(imported.report, output)
    if strict and imported.report.of("left out"):
        raise click.exceptions.Exit(Exit.WARNINGS)


def show(report: Report, output: Path | None) -> None:
    """Both lists, on stderr, so that stdout is a config."""
    for kind, heading in _HEADINGS:
        found = report.of(kind)
        if found:
            print(paint(f"{heading} ({len(found)}):", "error" if kind == "left out" else "warning", sys.stderr), file=sys.stderr)
        for one in found:
            print(*(f"  {line}" for line in str(one).splitlines()), sep="\n", file=sys.stderr)
    changed, left = plural(len(report.of("changed")), "difference"), len(report.of("left out"))
    where = f"{output}: " if output is not None else ""
    print(f"{where}{changed}, {left} not translated; look it over, then `proxyd check {output or 'FILE'}`", file=sys.stderr)
