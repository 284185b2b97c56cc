"""From the path of a setting, as a finding names it (`upstreams.app.servers[0]`), back to its place in the text.

Checks that run after validation (binding an address, looking up a name) know paths only. A name may hold dots itself, so the path is
read along the data: of the keys that fit, the longest is meant.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from proxyd.diagnostics.diagnostic import Diagnostic, Span
from proxyd.diagnostics.marked import Map, Seq


@dataclass(frozen=True, slots=True)
class Places:
    """The places of one config's settings; of none without its data."""

    root: Map | None = None

    def find(self, path: str) -> Span | None:
        """Where the value at `path` stands, or the longest beginning of the path that the text has; None when it has not even the first."""
        here: object = self.root
        found: Span | None = None
        while path:
            if isinstance(here, Map):
                key = max((name for name in here.spots if _begins(path, name)), key=len, default=None)
                if key is None:
                    break
                found, here, path = here.spots[key].value, here[key], path[len(key) :].removeprefix(".")
            else:
                index = re.match(r"\[([0-9]{1,9})\]\.?", path)
                if index is None or not isinstance(here, Seq) or int(index[1]) >= len(here):
                    break
                found, here, path = here.spots[int(index[1])].value, here[int(index[1])], path[index.end() :]
        return found

    def put(self, items: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
        """The same findings; those that name a setting and have no place get the setting's."""
        return tuple(replace(item, span=self.find(item.path)) if item.span is None and item.path else item for item in items)


def _begins(path: str, name: str) -> bool:
    return path.startswith(name) and path[len(name) : len(name) + 1] in ("", ".", "[")
