"""What Python sees of the arena: entry points for tests and tools."""
from typing import TypedDict

class Churned(TypedDict):
    taken: int
    refused: int
    broken: int
    most_held: int

def classes() -> list[tuple[int, int]]:
    """The size classes as (bytes of a slot, slots in a page)."""

def slot_bytes(size: int) -> int:
    """Bytes that a request of this size really takes. ValueError: no slot is that large."""

class ArenaProbe:
    """An arena in Python's hands. A slot is its address; what was not freed is, with the probe.

    limit: bytes; filed=False: as where there is no memfd. kind: 0 cache objects, 1 everything else.
    """

    def __init__(self, limit: int, *, filed: bool = True) -> None: ...
    def new(self, size: int, kind: int = 0) -> int | None: ...
    def free(self, slot: int) -> None: ...
    def write(self, slot: int, data: bytes) -> None: ...
    def read(self, slot: int) -> bytes: ...
    def page(self, slot: int) -> int:
        """The address of the page that a slot stands in."""
    def limit(self, limit: int) -> None: ...
    @property
    def held(self) -> int: ...
    @property
    def used(self) -> int: ...
    @property
    def over(self) -> int: ...
    @property
    def warm(self) -> int:
        """Bytes in the stock."""
    @property
    def fd(self) -> int:
        """The memfd, -1 if there is none. The arena's own."""
    def candidates(self, most: int = 1024) -> list[int]: ...
    def file(self, slot: int, offset: int = 0) -> tuple[int, int] | None:
        """(descriptor, offset) of a byte of a slot that takes a whole page; None: not backed by a file."""
    def churn(self, seed: int, rounds: int, keep: int = 64, largest: int = 65536) -> Churned:
        """Take and free slots of random sizes, without the GIL, at most `keep` at a time; each filled with bytes of its own, which are
        looked at before it is freed. Slots taken, refused, found broken; and the most bytes that were seen held."""
