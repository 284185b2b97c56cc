"""What operators changed of servers (overrides.py), kept for the process after this one: `servers.json` in the state folder.

HAProxy's server-state-file and nginx-plus's `state` do the same: a server that somebody has drained stays drained, whoever restarts proxyd
and why, until somebody makes it ready. A change is on disk before it is answered for; at the start what speaks of servers that the config
still has is taken up. At an upgrade the old process hands the same text to the new one: that needs no folder, and no disk that is in order.
"""
from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from proxyd.config.canonical import canonical
from proxyd.overrides import ASPECTS, Override, OverrideError, Overrides, parse_server, parse_weight
from proxyd.state import OverrideView, OverrideWord
from proxyd.statedir import StateDir, replace_file

if TYPE_CHECKING:
    from proxyd.config.model import Config

NAME = "servers.json"
FORMAT = 1
SHOWN_MAX = 5            # servers that a sentence names
_KEPT: dict[OverrideWord, str] = {
    "drain": "kept drained", "maint": "kept in maintenance", "weight": "kept at another weight", "added": "kept added",
    "removed": "kept out",
}

log = logging.getLogger("proxyd.overrides")


class ServerState:
    def __init__(self, state: StateDir) -> None:
        self._path = state.folder / NAME if state.folder is not None else None      # None: at an upgrade only
        self._lock = asyncio.Lock()              # one write at a time
        self._on_disk = b""
        self._before: frozenset[OverrideView] = frozenset()
        self._trouble = ""                       # why the disk has not what holds

    def take_up(self, handed: bytes | None, config: Config) -> Overrides:
        """What the process before left: what it handed over or, after a crash or a stop, its file. Never raises."""
        text = self._read()
        try:
            found = Overrides.of(_parse(text if handed is None else handed))
        except (ValueError, RecursionError) as error:
            self._set_aside(error)
            found = Overrides()
        for dropped in found.keep_only(config):
            if dropped.change != "added":       # else the config has it by now
                log.info("not kept, the config no longer has its server: %s/%s %s", dropped.upstream, dropped.server, dropped.text)
        self._before = frozenset(found.views())
        if found.entries:
            log.info("%s", self.kept_text(found))
        return found

    async def keep(self, overrides: Overrides) -> None:
        """Have them on disk. A disk that refuses keeps nobody from draining a server: `warnings` tells of it. Never raises."""
        async with self._lock:
            text = text_of(overrides)
            if self._path is None or text == self._on_disk:
                return
            try:
                await asyncio.to_thread(replace_file, self._path, text)
            except OSError as error:
                self._set_trouble(error)
            else:
                self._on_disk, self._trouble = text, ""

    def kept_text(self, overrides: Overrides) -> str:
        """`from before the restart: 2 servers kept drained (app/10.0.0.1:80, app/10.0.0.2:80)`; "": none is (any more)."""
        views = [view for view in overrides.views() if view in self._before]
        parts = [_kept(word, [view for view in views if view.change == word]) for word in _KEPT]
        return f"from before the restart: {', '.join(part for part in parts if part)}" if views else ""

    def warnings(self, overrides: Overrides) -> list[str]:
        return [text for text in (self.kept_text(overrides), self._trouble) if text]

    # ------------------------------------------------------------------ the disk
    def _read(self) -> bytes:
        """The file; without one what would stand in it."""
        self._on_disk = text_of(Overrides())
        if self._path is not None:
            try:
                self._on_disk = self._path.read_bytes()
            except FileNotFoundError:
                pass
            except OSError as error:
                self._set_trouble(error)
        return self._on_disk

    def _set_aside(self, error: Exception) -> None:
        """The text is not ours: it is kept for whoever wants to look at it."""
        log.error("changes of servers from before the restart are lost: %s: %s", self._path, error)
        if self._path is not None:
            with suppress(OSError):
                os.replace(self._path, self._path.with_name(f"{NAME}.damaged"))
        self._on_disk = b""

    def _set_trouble(self, error: OSError) -> None:
        self._trouble = f"changes of servers do not outlive this process: {self._path}: {(error.strerror or str(error)).lower()}"
        log.error("%s", self._trouble)


def text_of(overrides: Overrides) -> bytes:
    """All of them as JSON, which `take_up` reads."""
    changes = [{**asdict(entry), "added": canonical(entry.added) if entry.added is not None else None} for entry in overrides.entries]
    return json.dumps({"format": FORMAT, "changes": changes}, indent=1).encode()


def _parse(text: bytes) -> list[Override]:
    """ValueError: it is not the text of overrides. A change that is none is left out: the others hold all the same."""
    value = json.loads(text)
    if not isinstance(value, dict) or value.get("format") != FORMAT or not isinstance(value.get("changes"), list):
        raise ValueError("not what proxyd writes there")
    found: list[Override] = []
    for item in value["changes"]:
        try:
            found.append(_override(item))
        except (ValueError, KeyError, TypeError, OverrideError) as error:
            log.error("a change of a server from before the restart is lost: %s: %s: %s", item, type(error).__name__, error)
    return found


def _override(value: Mapping[str, Any]) -> Override:
    """From its JSON object. KeyError, TypeError, ValueError, OverrideError: it is none."""
    word, upstream, server, source, by = (value[name] for name in ("word", "upstream", "server", "source", "by"))
    if word not in ASPECTS or not all(isinstance(text, str) for text in (upstream, server, source, by)):
        raise ValueError("not a change of a server")
    weight = parse_weight(value["weight"]) if word == "weight" else 0
    added = parse_server(value["added"]) if word == "added" else None
    return Override(upstream, server, source, word, by, float(value["at"]), weight, added)


def _kept(word: OverrideWord, views: list[OverrideView]) -> str:
    """`2 servers kept drained (app/10.0.0.1:80, app/10.0.0.2:80)`; "" of none."""
    if not views:
        return ""
    names = [f"{view.upstream}/{view.server}" for view in views]
    more = [f"{len(names) - SHOWN_MAX} more"] if len(names) > SHOWN_MAX else []
    number = f"{len(views)} server{'' if len(views) == 1 else 's'}"
    return f"{number} {_KEPT[word]} ({', '.join([*names[:SHOWN_MAX], *more])})"
