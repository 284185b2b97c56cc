"""`proxyd explain`: an option, from the model; a code, from the tables of codes. The reference is made of the same facts."""
from __future__ import annotations

import re
import textwrap
from typing import Any

import click

from proxyd.admin.problem import KINDS
from proxyd.cli.errors import CliError, Exit
from proxyd.cli.output import paint, print_json
from proxyd.cli.settings import Settings, common, pass_settings
from proxyd.codes import CODES as DAEMON_CODES
from proxyd.config.explain import explain_code, find, suggest
from proxyd.config.options import Option

WIDTH = 96


@click.command("explain", short_help="what an option or an error code means")
@common
@click.argument("subject", metavar="OPTION|CODE")
@pass_settings
def command(settings: Settings, subject: str) -> None:
    """What an option or an error code means.

    \b
        proxyd explain upstreams.api.health.active.interval
        proxyd explain interval
        proxyd explain PXD-021
    """
    if re.fullmatch(r"(?i:pxd-?)?\d{1,3}", subject):
        facts = facts_of_code(subject)
        if settings.json:
            print_json(facts)
        else:
            print("\n".join(lines_of_code(facts)))
        return
    options = find(subject)
    if not options:
        near = suggest(subject)
        hint = f"did you mean `{near}`?" if near else "`proxyd show config --full` prints every option there is"
        raise CliError(f"there is no option `{subject}`", Exit.NOT_FOUND, hint=hint)
    if settings.json:
        print_json([option.as_dict() for option in options])
    else:
        print("\n\n".join("\n".join(lines_of_option(option)) for option in options))


def facts_of_code(text: str) -> dict[str, Any]:
    code = f"PXD-{int(re.sub(r'[^0-9]', '', text)):03}"
    known = explain_code(code)
    if known is not None:
        return {"code": code, "title": known.title, "text": known.text, "wrong": known.wrong, "right": known.right}
    other = DAEMON_CODES.get(code) or KINDS.get(code)
    if other is None:
        raise CliError(f"there is no code {code}", Exit.NOT_FOUND, hint="codes are printed in brackets: error[PXD-021]")
    return {"code": code, "title": other.title, "text": other.help, "wrong": "", "right": ""}


def lines_of_code(facts: dict[str, Any]) -> list[str]:
    lines = [f"{facts['code']}: {facts['title']}", "", *textwrap.wrap(facts["text"], WIDTH)]
    for word, style in (("wrong", "error"), ("right", "good")):
        if facts[word]:
            lines += ["", paint(f"{word}:", style), *textwrap.indent(facts[word], "    ").splitlines()]
    return lines


def lines_of_option(option: Option) -> list[str]:
    rows = [
        ("with", f"`{option.where}`" if option.where else ""),
        ("type", option.type),
        ("default", "must be given" if option.required else written(option.default)),
        ("allowed", option.bounds),
        ("example", written(option.example)),
        ("short", ", ".join(option.short_forms)),
        ("inside", ", ".join(option.children)),
    ]
    lines = [option.path, *textwrap.wrap(option.doc, WIDTH, initial_indent="  ", subsequent_indent="  ")]
    for name, value in rows:
        if value:
            wrapped = textwrap.wrap(value, WIDTH - 10) or [value]
            lines += [f"  {paint(f'{name:<8}', 'dim')}{wrapped[0]}", *(" " * 10 + line for line in wrapped[1:])]
    return lines


def written(value: object) -> str:
    """A default or example on one line, in the spelling of YAML's flow style."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {written(entry)}" for name, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(written(entry) for entry in value) + "]"
    return str(value)
