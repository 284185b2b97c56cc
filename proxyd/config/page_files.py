"""Reads the files of error pages, while it is known where in the config each is named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from proxyd.config.bundle import Files
from proxyd.config.error_pages import PageFile
from proxyd.config.text import MAX_BODY
from proxyd.diagnostics.diagnostic import Diagnostic
from proxyd.diagnostics.marked import Map, Seq, Step, locate, remove


def read_pages(data: Map, found: list[Diagnostic], files: Files) -> None:
    """Put each file's content beside its path, in place; what cannot be read is taken out, with a finding."""
    for path in list(_paths(data)):
        place = locate(data, path)
        owner = locate(data, path[:-1]).here
        if not isinstance(place.here, str) or not isinstance(owner, Map):
            continue
        try:
            owner["file"] = PageFile.of(place.here, _content(Path(place.value.source.folder, place.here), files))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            message = f"cannot read the error page `{place.here}`: {reason}"
            found.append(Diagnostic("PXD-010", message, place.value, "paths are relative to the config file"))
            remove(data, path)


def _content(path: Path, files: Files) -> bytes:
    content = files.read(path, MAX_BODY)
    if len(content) > MAX_BODY:
        raise OSError("it is larger than 1 MiB")
    return content


def _paths(data: Map) -> Iterator[tuple[Step, ...]]:
    """Of every `file` of an error page."""
    for owner in _owners(data):
        pages = locate(data, (*owner, "error_pages"))
        if pages.depth == len(owner) + 1 and isinstance(pages.here, Map):
            for statuses, page in pages.here.items():
                if isinstance(page, Map) and "file" in page:
                    yield (*owner, "error_pages", statuses, "file")


def _owners(data: Map) -> Iterator[tuple[Step, ...]]:
    yield ("defaults",)
    tables: list[tuple[Step, ...]] = [("routes",)]
    listeners = data.get("listeners")
    tables += [("listeners", name, "routes") for name in listeners] if isinstance(listeners, Map) else []
    for table in tables:
        place = locate(data, table)
        if place.depth == len(table) and isinstance(place.here, Seq):
            yield from ((*table, index) for index in range(len(place.here)))
