"""nginx's files as a tree of directives, by crossplane; and what of outer blocks holds in inner ones."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxyd.importing.report import Origin, Report

_SHOWN = 80  # characters of a directive in a report


class NotRead(Exception):
    """The file, or what it includes, is not an nginx config."""


@dataclass(frozen=True, slots=True)
class Directive:
    name: str
    args: tuple[str, ...]
    origin: Origin
    block: tuple[Directive, ...] = ()

    @property
    def first(self) -> str:
        return self.args[0] if self.args else ""

    def all(self, *names: str) -> list[Directive]:
        return [one for one in self.block if one.name in names]

    def one(self, name: str) -> Directive | None:
        found = self.all(name)
        return found[-1] if found else None


@dataclass(frozen=True, slots=True)
class Scope:
    """A block within its outer ones."""

    block: Directive
    outer: Scope | None = None

    def inner(self, block: Directive) -> Scope:
        return Scope(block, self)

    def all(self, *names: str) -> list[Directive]:
        """Of the innermost block that has any: one level's list replaces the outer one's, as nginx does it."""
        found = self.block.all(*names)
        return found if found or self.outer is None else self.outer.all(*names)

    def one(self, name: str) -> Directive | None:
        found = self.all(name)
        return found[-1] if found else None

    def first(self, name: str, default: str = "") -> str:
        """The first argument of the directive that holds here."""
        found = self.one(name)
        return found.first if found else default

    def levels(self) -> Iterator[Directive]:
        """From the inside out."""
        yield self.block
        if self.outer is not None:
            yield from self.outer.levels()


def read_tree(path: Path, report: Report) -> Directive:
    """The whole config as one block named `main`. What crossplane refuses is reported as left out; raises NotRead where nothing is left."""
    parse = importlib.import_module("crossplane").parse  # here, because no other command needs it
    try:
        payload: dict[str, Any] = parse(str(path), combine=True, catch_errors=True, comments=False, strict=False)
    except RecursionError:
        raise NotRead(f"{path} is not an nginx config: a file includes itself, or blocks are nested without end") from None
    folder = str(path.parent)
    for error in payload["errors"]:
        message = re.sub(r"\[Errno [0-9]+\] ", "", str(error["error"]).rpartition(" in ")[0] or str(error["error"]))
        report.left_out(Origin(_shown(error["file"], folder), error["line"] or 0, "nginx's syntax"), message, "`nginx -t` says the same")
    block = tuple(_directive(entry, folder) for config in payload["config"] for entry in config["parsed"])
    if not block:
        reason = "; ".join(str(error["error"]) for error in payload["errors"]) or "it says nothing"
        raise NotRead(f"{path} is not an nginx config: {reason}")
    return Directive("main", (), Origin(path.name, 0, ""), block)


def _directive(entry: dict[str, Any], folder: str) -> Directive:
    name, args = str(entry["directive"]), tuple(str(one) for one in entry["args"])
    text = " ".join((name, *args))
    origin = Origin(_shown(entry["file"], folder), entry["line"], text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
    return Directive(name, args, origin, tuple(_directive(one, folder) for one in entry.get("block") or ()))


def _shown(file: str, folder: str) -> str:
    return file.removeprefix(f"{folder}/")
