"""What the admin API needs of the daemon. `proxyd.daemon.Daemon` is one; the tests have a small one of their own."""
from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from proxyd.metrics.source import MetricsSource
from proxyd.state import ReloadResult, RouteDecision, RouteView, StatusView, UpstreamView

if TYPE_CHECKING:
    from proxyd.config.model import Config
    from proxyd.snapshot.explain import Question


class Control(MetricsSource, Protocol):
    @property
    def config(self) -> Config: ...

    @property
    def config_text(self) -> str: ...

    @property
    def config_path(self) -> Path | None: ...

    @property
    def generation(self) -> int: ...

    def status(self) -> StatusView: ...

    def upstreams(self) -> tuple[UpstreamView, ...]: ...

    def routes(self) -> tuple[RouteView, ...]: ...

    def not_ready(self) -> tuple[str, ...]: ...

    def explain(self, question: Question) -> tuple[RouteDecision, ...]: ...

    async def reload(self, text: str | None = None, *, path: Path | None = None, dry_run: bool = False) -> ReloadResult: ...

    def stop(self, *, now: bool = False) -> None: ...
