"""Native handles of policies (limits, verdicts, hooks) that outlive snapshots: kept while their definition stays the same, made anew when
it changes. A reload of an unchanged policy keeps all its state; one that redefines it starts anew."""
from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

T = TypeVar("T")

HandleKey = tuple[str, str, Hashable]      # (kind, name, definition)


@dataclass(slots=True)
class HandleStore:
    """Of all snapshots that live."""

    held: dict[HandleKey, Any] = field(default_factory=dict)

    def keep_only(self, keys: Iterable[HandleKey]) -> None:
        kept = set(keys)
        for key in [key for key in self.held if key not in kept]:
            del self.held[key]


@dataclass(slots=True)
class Handles:
    """Of one snapshot that is being built."""

    store: HandleStore
    keys: dict[HandleKey, None] = field(default_factory=dict)

    def get(self, kind: str, name: str, definition: Hashable, new: Callable[[], T]) -> T:
        """The handle of that kind and name with that definition; `new` makes it when there is none."""
        key = (kind, name, definition)
        self.keys[key] = None
        if key not in self.store.held:
            self.store.held[key] = new()
        return cast(T, self.store.held[key])
