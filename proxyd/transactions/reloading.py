"""The steps of a reload: read a config, say what it changes, take it or refuse it, and remember how that went. One caller at a time."""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from proxyd import codes
from proxyd.clock import Clock
from proxyd.config.bundle import TEXT
from proxyd.diagnostics import Diagnostic
from proxyd.loading import Loaded, load_given, load_path
from proxyd.process.notify import Notifier
from proxyd.serving import Serving
from proxyd.snapshot.plan import plan
from proxyd.snapshot.rehearsal import rehearse
from proxyd.state import DaemonError, Difference, LastReload, ReloadResult
from proxyd.transactions.drains import drains_of
from proxyd.transactions.plan_text import caches_text, plan_text
from proxyd.watch import Print, fingerprint
from proxyd.words import not_live, one_line, summary

log = logging.getLogger("proxyd.daemon")


class Reloading:
    """What the config that serves was loaded from, and what a new one would be."""

    def __init__(
        self,
        path: Path | None,
        text: str | None,
        clock: Clock,
        notifier: Notifier,
        on_taken: Callable[[], None],
        on_noted: Callable[[ReloadResult, str], None],
    ) -> None:
        """One of `path` and `text` is given. `on_taken` is called when another config has begun to serve, `on_noted` with what came of a
        reload and that in a few words."""
        self.path, self._text, self._on_taken, self._on_noted = path, text, on_taken, on_noted
        self._clock, self._notifier = clock, notifier
        self.last: LastReload | None = None
        self.counts = {"ok": 0, "unchanged": 0, "failed": 0}
        self.loaded_at = 0.0             # wall time
        self._of_file = True             # what serves was read from the daemon's own file
        self._compared: tuple[Print, str, bool] | None = None      # files as they were, what served, whether they differed

    def begin(self, serving: Serving, loaded: Loaded, own: Loaded) -> None:
        """`loaded` serves. `own`: what the daemon's own file held, which may be another, broken config."""
        self._serving = serving
        self._born = serving.compiled.config      # what the engines were made from
        self.files = own.files                    # of the daemon's own config, to be watched
        self._of_file = loaded is own
        self._accept(loaded)

    def load(self, text: str | None = None, path: Path | None = None) -> Loaded:
        """`text`, else the file `path`, else what the daemon was started from."""
        if text is None and path is None:
            text, path = self._text, self.path
        if text is not None:
            return load_given(text, self.path.parent if self.path is not None else None)
        if path is None:
            raise ValueError("neither a text nor a path")
        return load_path(path)

    async def attempt(self, loaded: Loaded, *, of_file: bool = False, dry_run: bool = False) -> ReloadResult:
        """Serve this config, all of it, or say why not; with `dry_run` only what would be. Never raises for what is wrong with it.

        `of_file`: it was read from the daemon's own file.
        """
        if loaded.config is None:
            return self.refused(loaded.diagnostics, dry_run)
        failed = await asyncio.to_thread(rehearse, loaded.config)
        if failed:
            return self.refused(loaded.places.put(failed), dry_run)
        try:
            changes = plan(self._serving.compiled.config, loaded.config)
            changed = self.changes(loaded)
            text = self.plan_text(loaded) if changed else ""
            warnings = [*loaded.diagnostics, *not_live(plan(self._born, loaded.config))]
            if changed and dry_run:
                await self._serving.try_out(loaded.config, loaded.hash)
            elif changed:
                await self._serving.take(loaded.config, loaded.hash)
                self._accept(loaded)
                self._on_taken()
            warnings += self._serving.unresolved(loaded.config)
        except DaemonError as error:
            return self.refused(loaded.places.put(error.diagnostics), dry_run)
        except Exception as error:
            log.exception("reload")
            return self.refused([Diagnostic(codes.INTERNAL.code, f"{type(error).__name__}: {error}", help=codes.INTERNAL.help)], dry_run)
        if of_file and not dry_run:
            self.files, self._of_file = loaded.files, True
        elif changed and not dry_run:
            self._of_file = False
        serving = self._serving.compiled
        shown_hash = loaded.hash if dry_run else serving.config_hash
        return ReloadResult(True, changed, dry_run, serving.generation, shown_hash, loaded.places.put(warnings), changes, summary=text)

    def changes(self, loaded: Loaded) -> bool:
        return loaded.hash != self._serving.compiled.config_hash

    def plan_text(self, loaded: Loaded) -> str:
        """What it would change, in one line."""
        assert loaded.config is not None
        old = self._serving.compiled.config
        return plan_text(plan(old, loaded.config), drains_of(self._serving, loaded.config), caches_text(old, loaded.config))

    def refused(self, diagnostics: Sequence[Diagnostic], dry_run: bool = False) -> ReloadResult:
        serving = self._serving.compiled
        return ReloadResult(False, False, dry_run, serving.generation, serving.config_hash, tuple(diagnostics))

    async def diff(self, path: Path | None = None) -> Difference:
        """What a reload (of `path`, else of the daemon's own file) would change, and what operators have changed. Changes nothing."""
        loaded = await asyncio.to_thread(self.load, None, path)
        shown, overrides = str(path or self.path or ""), self._serving.overrides.views()
        if loaded.config is None:
            return Difference(shown, (), loaded.diagnostics, overrides)
        failed = await asyncio.to_thread(rehearse, loaded.config)
        if failed:
            return Difference(shown, (), (*loaded.diagnostics, *loaded.places.put(failed)), overrides)
        warnings = loaded.places.put(not_live(plan(self._born, loaded.config)))
        text = self.plan_text(loaded) if self.changes(loaded) else ""
        changes = plan(self._serving.compiled.config, loaded.config)
        return Difference(shown, changes, (*loaded.diagnostics, *warnings), overrides, text)

    # ------------------------------------------------------------------ what is remembered
    def _accept(self, loaded: Loaded) -> None:
        """The config serves now."""
        self.loaded, self.loaded_at = loaded, self._clock.wall()
        logging.getLogger("proxyd").setLevel(self._serving.compiled.config.log.level.upper())

    def findings(self) -> list[Diagnostic]:
        """What there is to warn of, of the config that serves."""
        return [*self.loaded.diagnostics, *self.loaded.places.put(self._serving.unresolved(self._serving.compiled.config))]

    @property
    def file_differs(self) -> bool:
        """Whether the daemon's own file is not what serves because something else was taken (a rollback, a text, the last good config). A
        file that somebody has edited since it was taken is another matter: that is what `diff` tells."""
        if self.path is None or self._of_file:
            return False
        now = fingerprint(self.files)
        if self._compared is None or self._compared[:2] != (now, self.loaded.hash):
            self._compared = (now, self.loaded.hash, _differs(self.loaded))
        return self._compared[2]

    @property
    def serves_file(self) -> bool:
        """Whether what serves is what this daemon was started from (or what that was when it was last read)."""
        return self._of_file or (self.path is not None and not self.file_differs)

    def note(self, result: ReloadResult) -> None:
        """Count a reload and write its line in the log."""
        self.counts["failed" if not result.ok else "ok" if result.changed else "unchanged"] += 1
        self.last = LastReload(result.ok, self._clock.wall(), summary(result))
        self._on_noted(result, result.summary or self.last.summary)
        if not result.ok:
            log.error("reload refused, the old config serves on: %s", self.last.summary)
        elif result.changed:
            log.info("reload: config %s, generation %d: %s", result.config_hash, result.generation, result.summary)
            for change in result.plan:
                log.info("  %s%s", change.text, "" if change.live else " (takes effect at the next start)")
            self._notifier.send(f"STATUS=serving config {result.config_hash}")
        else:
            log.info("reload: nothing has changed")

    def tell(self, result: ReloadResult) -> None:
        """All diagnostics of a reload that nobody waits for, into the log."""
        errors = [diagnostic for diagnostic in result.diagnostics if diagnostic.severity == "error"]
        for diagnostic in result.diagnostics:
            if diagnostic not in errors[:1]:       # that stands in the line which says that it was refused
                log.log(logging.ERROR if diagnostic.severity == "error" else logging.WARNING, "%s", one_line(diagnostic))


def _differs(loaded: Loaded) -> bool:
    """Whether the files that it was made of hold something else by now."""
    if loaded.bundle is None or loaded.bundle.main == TEXT:
        return True
    try:
        return any(Path(name).read_bytes() != content for name, content in loaded.bundle.files.items())
    except OSError:
        return True
