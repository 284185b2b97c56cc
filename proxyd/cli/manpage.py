"""proxyd(1), in roff: a written frame, and every command as click knows it, so that the page cannot lag behind the program.

    python -m proxyd.cli.manpage > proxyd.1
"""
from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

import click

from proxyd.cli.entry import VERBS, root
from proxyd.cli.errors import Exit
from proxyd.words import own_version

EXITS = {
    Exit.OK: "done", Exit.FAILED: "failed at run time", Exit.USAGE: "the command line is wrong", Exit.CONFIG_INVALID: "invalid config",
    Exit.WARNINGS: "warnings, with --strict", Exit.NOT_REACHABLE: "the daemon is not reachable",
    Exit.RELOAD_REFUSED: "a reload was refused or rolled back", Exit.NOT_FOUND: "not found", Exit.NOT_PERMITTED: "not permitted",
}
SIGNALS = {
    "TERM": "drain and leave; a second one: at once", "INT": "leave at once", "HUP": "take the config again",
    "USR1": "open the log files anew, after a rotation", "USR2": "upgrade: a new process takes over the listening sockets",
}
ENVIRONMENT = {
    "PROXYD_CONFIG": "the config, where -c is not given", "PROXYD_ADMIN": "the admin address, where --admin is not given",
    "NO_COLOR": "no colours", "NOTIFY_SOCKET": "where the service manager wants to hear (sd_notify(3))",
    "LISTEN_FDS": "sockets that were opened before (sd_listen_fds(3)); a listener takes those that have its address",
}
FILES = {
    "/etc/proxyd/proxyd.yaml": "the config, after ./proxyd.yaml", "/run/proxyd/admin.sock": "the admin API",
    "/var/lib/proxyd": "what outlives a restart",
}
DESCRIPTION = """\
proxyd is a load balancer and cache proxy: HTTP by host and path, TCP and UDP by port or TLS server name, with health checks, limits, a
cache and policies. It is run from one YAML file, and takes a changed file without dropping a connection.

\\fBproxyd proxy :8080 HOST:PORT...\\fR balances with no file at all; \\fBproxyd run --demo\\fR brings its own servers to try; \\fBproxyd
explain OPTION\\fR tells what an option of the file means, \\fBproxyd explain CODE\\fR what an error does.
"""


def page() -> str:
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield f'.TH PROXYD 1 "" "proxyd {_text(own_version())}" "User Commands"'
    yield from (".SH NAME", "proxyd \\- load balancer and cache proxy")
    yield from (".SH SYNOPSIS", ".B proxyd", ".RI [ OPTIONS ]", ".I COMMAND", ".RI [ ARGUMENTS ]")
    yield from (".SH DESCRIPTION", *(line or ".PP" for line in DESCRIPTION.strip().splitlines()))
    yield ".SH OPTIONS"
    yield "They stand before or after the command."
    context = click.Context(root, info_name="proxyd")
    yield from _options(root, context)
    yield ".SH COMMANDS"
    common = frozenset(option for parameter in root.params for option in parameter.opts)
    for name in VERBS:
        command = root.get_command(context, name)
        assert command is not None
        yield from _command(command, click.Context(command, context, info_name=name), common)
    for title, table in (("SIGNALS", SIGNALS), ("EXIT STATUS", {str(int(code)): text for code, text in EXITS.items()}),
                         ("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES)):
        yield f".SH {title}"
        for word, text in table.items():
            yield from _entry(f"\\fB{_text(word)}\\fR", text)
    yield from (".SH SEE ALSO", ".BR systemd.service (5),", ".BR systemd.socket (5),", ".BR sd_notify (3)")


def _command(command: click.Command, context: click.Context, common: frozenset[str]) -> Iterator[str]:
    words = " ".join((context.command_path.removeprefix("proxyd "), *(word for word in command.collect_usage_pieces(context))))
    yield f".SS {_text(words)}"
    yield from _paragraphs(command.help or "")
    yield from _options(command, context, common)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _command(below, click.Context(below, context, info_name=name), common)


def _options(command: click.Command, context: click.Context, left_out: frozenset[str] = frozenset()) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and record[1] and not set(parameter.opts) & (left_out | {"--help"}):
            yield from _entry(f"\\fB{_text(record[0])}\\fR", record[1])


def _entry(term: str, text: str) -> Iterator[str]:
    yield from (".TP", term, _text(text))


def _paragraphs(help: str) -> Iterator[str]:
    """A docstring as click reads it: paragraphs, and those after \\b as they are."""
    for paragraph in re.split(r"\n\s*\n", help.strip()):
        lines = paragraph.splitlines()
        if lines[0].strip() == "\b":
            yield from (".PP", ".nf", *map(_text, textwrap.dedent("\n".join(lines[1:])).splitlines()), ".fi")
        else:
            yield from (".PP", _text(" ".join(line.strip() for line in lines)))


def _text(text: str) -> str:
    """Characters that roff would take for its own."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga").replace("…", "...")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    print(page(), end="")
