"""The history of configs: what served when, what was refused, and the files of all that can be gone back to.

On disk: `history.json` is the list, `config-N.json` the files of entry N, written before the list names it. Without a folder, and as long
as the disk refuses, all of it is in memory.
"""
from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from proxyd.config.bundle import Bundle
from proxyd.statedir import StateDir, locked, replace_file
from proxyd.transactions.entry import GOOD, LIVE, Entry, entry_of

FORMAT = 1
KEPT_MAX = 50            # entries with their files
OTHERS_MAX = 50          # entries without: they must not push out what one can go back to

log = logging.getLogger("proxyd.transactions")

Edit = Callable[[list[Entry], int], list[Entry]]
"""From the entries and the next number to the new entries."""


class ConfigHistory:
    """All methods but the properties block, and are called by one thread at a time."""

    def __init__(self, state: StateDir) -> None:
        self._folder = state.folder
        self._entries: list[Entry] = []
        self._next = 1
        self._in_memory: dict[int, Bundle] = {}      # that the disk has not (yet)
        self._ahead = False                          # so do the entries
        self.warning = state.warning
        """Why the disk has it not; "": it has, or it should not."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Oldest first."""
        return tuple(self._entries)

    def entry(self, number: int) -> Entry | None:
        return next((entry for entry in self._entries if entry.number == number), None)

    def last_good(self) -> Entry | None:
        """The newest that served, was not on trial, and can be loaded again."""
        return next((entry for entry in reversed(self._entries) if entry.result in GOOD and entry.kept), None)

    def live(self) -> Entry | None:
        """What serves, or served when its daemon was killed: one that leaves by itself says so (`leave`)."""
        return next((entry for entry in reversed(self._entries) if entry.result in LIVE), None)

    def aside(self, hash: str) -> Entry | None:
        """What is live in place of the file's config, which has this hash: a rollback, or a text. None: the file's is to be served, since
        it is live, or somebody has changed the file since, or the daemon left by itself."""
        live = self.live()
        newest = next((entry for entry in reversed(self._entries) if entry.of_file and entry.result != "refused"), None)
        if live is None or live.of_file or newest is None or hash == live.hash or hash != newest.hash:
            return None
        return live

    @property
    def folder(self) -> Path | None:
        return self._folder

    @property
    def durable(self) -> bool:
        """The next process will find all of it."""
        return self._folder is not None and not self._ahead

    def open(self) -> None:
        """Read what an earlier daemon left. Never raises."""
        try:
            self._read()
        except OSError as error:
            self.warning = self._told(error)

    def add(self, draft: Entry, bundle: Bundle | None) -> Entry:
        """Give the draft its number and keep it; what served before has served. `bundle`: its files, of one that can be gone back to."""
        made: list[Entry] = []

        def edit(entries: list[Entry], number: int) -> list[Entry]:
            if draft.result in LIVE:
                entries = [replace(entry, result="served") if entry.result == "serving" else entry for entry in entries]
            made[:] = [replace(draft, number=number, kept=bundle is not None)]
            if bundle is not None:
                self._in_memory[number] = bundle
            return [*entries, made[0]]

        self._change(edit, grows=True)
        return made[0]

    def change(self, number: int, **changes: Any) -> None:
        """Change members of an entry, if it is (still) there."""
        self._change(lambda entries, _: [replace(entry, **changes) if entry.number == number else entry for entry in entries])

    def leave(self) -> None:
        """The daemon leaves, and not since it was killed: the next one shall serve its file. A trial goes on with it all the same."""
        self._change(lambda entries, _: [replace(entry, result="served") if entry.result == "serving" else entry for entry in entries])

    def end_trials(self) -> None:
        """At start, with a file that is not what was on trial: an earlier daemon did not see it to its end."""
        if any(entry.result == "on trial" for entry in self._entries):
            note = "the daemon ended during the trial"
            self._change(lambda entries, _: [
                replace(entry, result="cut short", note=note) if entry.result == "on trial" else entry for entry in entries
            ])

    def bundle(self, number: int) -> Bundle | None:
        """The files of an entry; None: they are not (any more) there."""
        if number in self._in_memory or self._folder is None:
            return self._in_memory.get(number)
        try:
            return Bundle.of(json.loads(self._bundle_path(self._folder, number).read_bytes()))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.error("the config of entry %d cannot be read from %s: %s", number, self._bundle_path(self._folder, number), error)
            return None

    # ------------------------------------------------------------------ the disk
    def _change(self, edit: Edit, *, grows: bool = False) -> None:
        """Read again (another daemon may have written: the old one of an upgrade), edit, write."""
        with ExitStack() as stack:
            try:
                if self._folder is not None:
                    stack.enter_context(locked(self._folder))
                    self._read()
            except OSError as error:
                self.warning = self._told(error)
            self._entries = bounded(edit(self._entries, self._next))
            self._next += grows
            self._forget()
            if self._folder is not None:
                self._ahead = True
                try:
                    self._write(self._folder)
                    self._ahead, self.warning = False, ""
                except OSError as error:
                    self.warning = self._told(error)
                    log.error("%s", self.warning)

    def _read(self) -> None:
        if self._folder is None or self._ahead:
            return
        path = self._folder / "history.json"
        try:
            value = json.loads(path.read_bytes())
            if value["format"] != FORMAT:
                raise ValueError(f"format {value['format']}")
            self._entries, self._next = [entry_of(item) for item in value["entries"]], int(value["next"])
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError) as error:
            log.error("%s is damaged (%s: %s) and begins anew; it is kept as %s.damaged", path, type(error).__name__, error, path.name)
            os.replace(path, path.with_name(f"{path.name}.damaged"))
            texts = [found.stem.removeprefix("config-") for found in self._folder.glob("config-[0-9]*.json")]
            self._next = max(self._next, *(int(text) + 1 for text in texts if text.isdecimal() and len(text) < 10), 1)

    def _write(self, folder: Path) -> None:
        for number, bundle in list(self._in_memory.items()):
            replace_file(self._bundle_path(folder, number), _json(bundle.as_dict()))
        value = {"format": FORMAT, "next": self._next, "entries": [asdict(entry) for entry in self._entries]}
        replace_file(folder / "history.json", _json(value))
        self._in_memory.clear()
        wanted = {self._bundle_path(folder, entry.number) for entry in self._entries if entry.kept}
        for path in folder.glob("config-[0-9]*.json"):
            if path not in wanted:
                with suppress(OSError):
                    path.unlink()

    def _forget(self) -> None:
        kept = {entry.number for entry in self._entries if entry.kept}
        self._in_memory = {number: bundle for number, bundle in self._in_memory.items() if number in kept}

    @staticmethod
    def _bundle_path(folder: Path, number: int) -> Path:
        return folder / f"config-{number}.json"

    def _told(self, error: OSError) -> str:
        return f"the history of configs is kept in memory only: {self._folder}: {(error.strerror or str(error)).lower()}"


def bounded(entries: list[Entry]) -> list[Entry]:
    """The newest of each kind. What serves, or is on trial, stays."""
    room = {True: KEPT_MAX, False: OTHERS_MAX}
    found: list[Entry] = []
    for entry in reversed(entries):
        room[entry.kept] -= 1
        if room[entry.kept] >= 0 or entry.result in LIVE:
            found.append(entry)
    return found[::-1]


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode()
