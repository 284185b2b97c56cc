"""Looks at the files of `python` policies, while it is known where in the config each is named. They are parsed, not run: `check` runs
nobody's code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from proxyd.config.python_filter import FilterFile
from proxyd.diagnostics.diagnostic import Diagnostic
from proxyd.diagnostics.marked import Map, Step, locate, remove

FILE_MAX = 1024 * 1024
_HELP = "paths are relative to the config file"


def read_filters(data: Map, found: list[Diagnostic]) -> None:
    """Put where each file is beside its path, in place; one that cannot be a filter is taken out, with a finding."""
    for path in list(_paths(data)):
        place = locate(data, path)
        owner = locate(data, path[:-1]).here
        if not isinstance(place.here, str) or not isinstance(owner, Map) or not isinstance(path[-1], str):
            continue
        file = Path(os.path.abspath(Path(place.value.source.folder, place.here)))
        fault = _fault(file, place.here)
        if fault:
            found.append(Diagnostic("PXD-089", fault[0], place.value, fault[1]))
            remove(data, path)
        else:
            owner[path[-1]] = FilterFile.of(place.here, file)


def _fault(file: Path, shown: str) -> tuple[str, str] | None:
    """What keeps it from being a filter, and what may help."""
    if file.suffix != ".py":
        return f"the filter `{shown}` is not a Python file", "its name ends in .py"
    try:
        with file.open("rb") as opened:
            content = opened.read(FILE_MAX + 1)
    except (OSError, ValueError) as error:
        return f"cannot read the filter `{shown}`: {getattr(error, 'strerror', None) or error}", _HELP
    if len(content) > FILE_MAX:
        return f"the filter `{shown}` is larger than 1 MiB", ""
    try:
        compile(content, str(file), "exec", dont_inherit=True)
    except SyntaxError as error:
        line = f":{error.lineno}" if error.lineno else ""
        return f"the filter does not load: {shown}{line}: {error.msg}", ""
    except (ValueError, RecursionError, MemoryError) as error:
        return f"the filter does not load: {shown}: {error}", ""
    return None


def _paths(data: Map) -> Iterator[tuple[Step, ...]]:
    """Of every file of a filter, in the short form or in the long one."""
    policies = data.get("policies")
    for name, policy in policies.items() if isinstance(policies, Map) else ():
        python = policy.get("python") if isinstance(policy, Map) else None
        if isinstance(python, str):
            yield ("policies", name, "python")
        elif isinstance(python, Map) and "file" in python:
            yield ("policies", name, "python", "file")
