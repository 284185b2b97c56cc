"""What a route's `headers` steps add up to, for one direction: computed once, so that a request costs two slices."""
from __future__ import annotations

from collections.abc import Sequence

from proxyd_ext.http1.lines import OWNED


class FieldEdits:
    """Grows by `step`; `lines` and `drop` are the sum of all steps so far."""

    def __init__(self) -> None:
        self._lines: list[tuple[bytes, bytes]] = []    # (name in lower case, whole line)
        self._drop: dict[bytes, None] = {}

    def step(self, remove: Sequence[str], set_lines: bytes, add_lines: bytes) -> None:
        """Remove, then set, then add. What an earlier step wrote under a name that is removed or set here goes too."""
        replacing, beside = _split(set_lines), _split(add_lines)
        gone = {_checked(name.lower().encode()) for name in remove} | {name for name, _ in replacing}
        self._lines = [line for line in self._lines if line[0] not in gone] + replacing + beside
        self._drop.update(dict.fromkeys(sorted(gone)))

    @property
    def lines(self) -> bytes:
        """Whole field lines to write."""
        return b"".join(line for _, line in self._lines)

    @property
    def drop(self) -> bytes:
        """Names of fields that are not passed on, in lower case, each with a line feed."""
        return b"".join(name + b"\n" for name in self._drop)


def _split(lines: bytes) -> list[tuple[bytes, bytes]]:
    return [(_checked(line.partition(b":")[0].lower()), line) for line in lines.splitlines(keepends=True)]


def _checked(name: bytes) -> bytes:
    if name in OWNED:
        raise ValueError(f"the field {name.decode()} is written by the proxy itself")
    if not name:
        raise ValueError("a field has no name")
    return name
