"""What `proxyd doctor` finds: a sentence, how bad it is, and what to do."""
from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["good", "note", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    subject: str               # "open files"
    text: str                  # "may be 1024, of which 310 are open"
    advice: str = ""           # what to do; "" where nothing is wrong
