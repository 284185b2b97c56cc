"""Classes of requests: who waits first, and who is shed first."""

from __future__ import annotations

from typing import Literal

PriorityWord = Literal["low", "normal", "high", "critical"]
