"""`proxyd audit`: who changed what, and whether the record of it is whole."""
from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import click

from proxyd.admin.client import NotReachable
from proxyd.audit.file import NAME, last_records
from proxyd.audit.reading import Trail
from proxyd.audit.record import in_words
from proxyd.audit.rotation import files_before
from proxyd.audit.verify import Verdict, verify
from proxyd.cli.errors import CliError, Exit
from proxyd.cli.number import Number
from proxyd.cli.output import paint, plural, print_json, table
from proxyd.cli.settings import Settings, common, pass_settings
from proxyd.plain import plain
from proxyd.statedir import state_dir


@click.group("audit", short_help="who changed what, and whether the record of it is whole: show, verify")
@common
def command() -> None:
    """Who changed what, from where, and what came of it. Without FILE: the trail of the running daemon, or of the config's state folder.

    FILE is the newest file of a trail, `audit.jsonl`; those that were put aside before it, `audit-NUMBER.jsonl`, are read with it.
    """


@command.command("show", short_help="the newest records")
@common
@click.argument("file", required=False, type=click.Path(path_type=Path), metavar="[FILE]")
@click.option("-n", "--number", "count", type=Number(1, 1_000), default=20, show_default=True, help="How many records.")
@pass_settings
def show(settings: Settings, file: Path | None, count: int) -> None:
    """The newest records, the last one at the end."""
    if file is None:
        try:
            records = settings.client().get("/audit", {"limit": str(count)})["last"]
        except NotReachable:
            records = last_of(local_file(settings), count)
    else:
        records = last_of(file, count)
    if settings.json:
        print_json(records)
    elif records:
        print("\n".join(record_lines(records)))
    else:
        print("nothing was changed yet")


@command.command("verify", short_help="whether every record is there and unchanged")
@common
@click.argument("file", required=False, type=click.Path(path_type=Path), metavar="[FILE]")
@click.option("--head", metavar="HASH", default="", help="A hash that the trail must contain, as `proxyd status -v` showed it.")
@pass_settings
def verify_(settings: Settings, file: Path | None, head: str) -> None:
    """Whether every record is there and unchanged, and where the first is not. Exit code 1 when the trail is broken.

    That records are missing at the end shows only against a hash that was known before: that of the running daemon, or --head.
    """
    if file is None:
        file, head = of_daemon(settings, head)
    found, place, line = verified(file, head.lower())
    if settings.json:
        print_json({"file": str(place), "ok": not found.fault, "records": found.records, "expired": found.expired, "head": found.head,
                    "fault": found.fault, "line": line, "text": found.text})
    elif found.fault:
        raise CliError(f"{place}:{line}: {found.text}", hint=f"{plural(found.records, 'record')} before it are as they were written")
    elif not settings.quiet:
        expired = f", after {found.expired} that expired" if found.expired else ""
        print(f"{file}: {plural(found.records, 'record')}{expired}, unbroken; it ends with {found.head}")
    if found.fault:
        raise click.exceptions.Exit(Exit.FAILED)


def verified(file: Path, head: str) -> tuple[Verdict, Path, int]:
    """What is found, in which file and which of its lines. Again when a file was removed meanwhile: then a newer one tells of it."""
    while file.exists() or before(file):
        with contextlib.suppress(FileNotFoundError):
            trail = Trail(file)
            found = verify(trail, head=head)
            return found, *(trail.place(found.line) if found.fault else (file, 0))
    raise CliError(f"{file}: there is no such file", Exit.NOT_FOUND)


def before(file: Path) -> list[Path]:
    try:
        return files_before(file)
    except OSError:
        return []


def of_daemon(settings: Settings, head: str) -> tuple[Path, str]:
    """The file that is meant, and the hash that it must contain."""
    try:
        view = settings.client().get("/audit", {"limit": "1"})
    except NotReachable:
        return local_file(settings), head
    if not view["file"]:
        raise CliError("the daemon keeps its audit trail in memory: there is no file to verify", Exit.NOT_FOUND)
    return Path(view["file"]), head or (view["head"] if view["records"] else "")


def local_file(settings: Settings) -> Path:
    folder = state_dir(settings.maybe_config_path())
    if folder is None:
        raise CliError("no daemon answers, and there is no config whose state folder could hold an audit trail", Exit.NOT_REACHABLE,
                       hint="name the file: proxyd audit verify FILE")
    return folder / NAME


def last_of(file: Path, count: int) -> list[dict[str, Any]]:
    if not file.exists() and not before(file):
        raise CliError(f"{file}: there is no such file", Exit.NOT_FOUND)
    return last_records(file, count)


def record_lines(records: list[dict[str, Any]]) -> list[str]:
    rows = [[paint(name, "dim") for name in ("#", "TIME", "WHO", "FROM", "ACTION", "TARGET", "RESULT", "DETAIL")]]
    for record in records:
        refused, detail = record["result"] == "refused", "; ".join(in_words(record["detail"]))
        rows.append([
            str(record["seq"]), *(plain(record[name]) for name in ("time", "who", "origin", "action")), plain(record["target"]) or "-",
            paint(plain(f"refused {record['code']}".rstrip()), "error") if refused else plain(record["result"]), plain(detail),
        ])
    return table(rows, indent="")
