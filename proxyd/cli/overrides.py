"""How the command line tells a change that was made at run time."""
from __future__ import annotations

from typing import Any

from proxyd.cli.output import ago


def override_line(entry: dict[str, Any]) -> str:
    """`override: api/10.0.1.12:8000 drained by ops 3m 2s ago`."""
    return f"override: {entry['upstream']}/{entry['server']} {entry['text']} by {entry['by']} {ago(entry['at'])}"
