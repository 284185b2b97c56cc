"""`proxyd history`: which configs served, which were refused or rolled back, and why."""
from __future__ import annotations

from typing import Any

import click

from proxyd.cli.number import Number
from proxyd.cli.output import ago, paint, print_json, table
from proxyd.cli.settings import Settings, common, pass_settings

STYLES = {"serving": "good", "on trial": "warning", "refused": "error", "rolled back": "error", "cut short": "error"}
SHOWN = 20
HASH_DIGITS = 12


@click.command("history", short_help="the configs that served, and those that were refused")
@common
@click.argument("number", required=False, type=Number(min=1), metavar="[N]")
@click.option("--all", "every", is_flag=True, help="All that is known, not only the last twenty.")
@pass_settings
def command(settings: Settings, number: int | None, every: bool) -> None:
    """The configs that served and those that were refused or rolled back, the newest first; with N one of them, with its text.

    Exit code 7 when there is no such entry.
    """
    client = settings.client()
    if number is not None:
        entry = client.get(f"/config/history/{number}")
        if settings.json:
            print_json(entry)
        else:
            print("\n".join(entry_lines(entry)))
        return
    entries = client.get("/config/history")
    shown = entries if every else entries[:SHOWN]
    if settings.json:
        print_json(shown)
        return
    print("\n".join(history_lines(shown)))
    if len(shown) < len(entries) and not settings.quiet:
        print(f"{len(entries) - len(shown)} more: --all")


def history_lines(entries: list[dict[str, Any]]) -> list[str]:
    rows = [[paint(name, "dim") for name in ("#", "WHEN", "BY", "HOW", "CONFIG", "RESULT", "WHAT")]]
    for entry in entries:
        how = f"{entry['how']} to {entry['restores']}" if entry["restores"] else entry["how"]
        result = entry["result"]
        rows.append([
            str(entry["number"]), ago(entry["at"]), entry["by"], how, entry["hash"][:HASH_DIGITS] or "-",
            paint(result, STYLES[result]) if result in STYLES else result, story(entry),
        ])
    return table(rows, indent="")


def story(entry: dict[str, Any]) -> str:
    """What the config changed, what it was tried by, and why it was refused or rolled back."""
    return "; ".join(part for part in (entry["plan"], entry["terms"], entry["note"]) if part)


def entry_lines(entry: dict[str, Any]) -> list[str]:
    lines = history_lines([entry])
    lines += [f"  {text}" for text in entry["changes"]]
    for name, text in entry["files"].items():
        lines += ["", paint(f"# {name}", "dim"), text.rstrip("\n")]
    return lines
