"""When the audit trail goes on in another file, and what becomes of those before.

`audit.jsonl` is written. When it has grown to `log.audit.size` it is put aside as `audit-000000048211.jsonl`, named after its last record,
by one rename. The next record, the first of a new `audit.jsonl`, carries the hash of that last one: the chain goes over files as it goes
over lines. Killed between the two, the folder has no `audit.jsonl`, and the newest of those put aside says where the chain ends. (Names as
audit.1, audit.2 would take a rename for each file, and be a puzzle when killed in between.)

Of those put aside `log.audit.keep` stay. Before an older one is removed, a record says so (`audit.expired`, with the number and the hash of
its last record), and so proves that a trail which begins behind it was not shortened by somebody else: `verify.py` asks for that record.
Killed between the two, the file is still there, and is removed with the next one.
"""
from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from proxyd.statedir import sync_folder

EXPIRED = "audit.expired"


@dataclass(frozen=True, slots=True)
class Bounds:
    """`size`: bytes of a file that is put aside; it may outgrow them by the records that are written at a time. `keep`: files put aside."""

    size: int = 16 << 20
    keep: int = 9


def files_before(path: Path) -> list[Path]:
    """Those that were put aside, oldest first. OSError."""
    name = re.compile(rf"{re.escape(path.stem)}-\d{{12,}}{re.escape(path.suffix)}")
    found = (path.parent / entry for entry in os.listdir(path.parent) if name.fullmatch(entry))
    return sorted(found, key=lambda entry: (len(entry.name), entry.name))


def put_aside(path: Path, seq: int) -> None:
    """Under the lock of the folder. FileExistsError: a file ends with such a record, and is not written over. OSError."""
    name = path.with_name(f"{path.stem}-{seq:012}{path.suffix}")
    if name.exists():
        raise FileExistsError(f"{name.name} is there")
    os.rename(path, name)
    sync_folder(path.parent)
