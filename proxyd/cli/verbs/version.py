"""`proxyd version`: what one is asked for in a bug report."""
from __future__ import annotations

import importlib.metadata
import platform

import click

from proxyd.cli.output import print_json
from proxyd.cli.settings import Settings, common, pass_settings

PARTS = ("uvloop", "aiohttp", "pydantic", "PyYAML", "prometheus-client", "click")


@click.command("version", short_help="versions of proxyd and what it runs on")
@common
@pass_settings
def command(settings: Settings) -> None:
    """Versions of proxyd and what it runs on."""
    found = {"proxyd": installed("proxyd"), "python": platform.python_version(), "system": f"{platform.system()} {platform.release()}"}
    if settings.json:
        print_json(found | {part: installed(part) for part in PARTS})
        return
    print(f"proxyd {found['proxyd']} (Python {found['python']}, {found['system']} {platform.machine()})")
    if settings.verbose:
        for part in PARTS:
            print(f"  {part} {installed(part)}")


def installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
