"""Owner: see the task."""
from __future__ import annotations

from typing import Any


def build_ban(handles: Any, name: Any, ban: Any) -> Any:
    raise NotImplementedError


def build_inflight(handles: Any, name: Any, concurrency: Any) -> Any:
    raise NotImplementedError


def build_rate_limit(config: Any, handles: Any, name: Any, limit: Any) -> Any:
    raise NotImplementedError
