"""S3-FIFO by bytes in plain Python, from the rules as `ext/proxyd_ext/cache/policy.pxd` states them (Yang et al., SOSP 2023)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Entry:
    key: int
    size: int
    hits: int = 0


@dataclass(slots=True)
class S3Fifo:
    target: int
    small: list[Entry] = field(default_factory=list)      # oldest first
    main: list[Entry] = field(default_factory=list)
    evicted: list[int] = field(default_factory=list)      # all keys that SMALL ever gave up, in that order
    forgotten: dict[int, int] = field(default_factory=dict)    # key: its last place in `evicted` that does not count any more

    @property
    def share(self) -> int:
        return max(self.target // 10, 1)

    @property
    def bytes(self) -> tuple[int, int]:
        return sum(each.size for each in self.small), sum(each.size for each in self.main)

    def find(self, key: int) -> Entry | None:
        return next((each for each in (*self.small, *self.main) if each.key == key), None)

    def large(self, size: int) -> bool:
        count = len(self.small) + len(self.main)
        return size > self.share or (count > 0 and size > 2 * (sum(self.bytes) // count))

    def remembered(self, key: int) -> bool:
        """Whether the ghost knows it: among as many of the last evictions as MAIN holds objects."""
        places = range(max(len(self.evicted) - len(self.main), self.forgotten.get(key, -1) + 1), len(self.evicted))
        return any(self.evicted[place] == key for place in places)

    def insert(self, key: int, size: int) -> None:
        known = self.remembered(key)
        self.forgotten[key] = len(self.evicted) - 1
        if known:
            self.main.append(Entry(key, size))
        elif self.large(size):
            self.small.insert(0, Entry(key, size))
        else:
            self.small.append(Entry(key, size))

    def hit(self, key: int) -> None:
        entry = self.find(key)
        if entry is not None:
            entry.hits = min(entry.hits + 1, 3)

    def victim(self) -> int | None:
        for looked in range(1, 65):
            if self.small and (self.bytes[0] > self.share or not self.main):
                entry = self.small.pop(0)
                if entry.hits < 2 or looked == 64:
                    self.evicted.append(entry.key)
                    return entry.key
                self.main.append(entry)
                entry.hits = 0
            elif self.main:
                entry = self.main.pop(0)
                if entry.hits == 0 or looked == 64:
                    return entry.key
                self.main.append(entry)
                entry.hits -= 1
            else:
                return None
        raise AssertionError("the 64th is taken")

    def remove(self, key: int) -> None:
        self.small = [each for each in self.small if each.key != key]
        self.main = [each for each in self.main if each.key != key]

    def resize(self, key: int, size: int) -> None:
        entry = self.find(key)
        if entry is None:
            return
        grew = size > entry.size
        entry.size = size
        if grew and entry in self.small and self.large(size):
            self.small.remove(entry)
            self.small.insert(0, entry)

    def replace(self, key: int, size: int) -> None:
        entry = self.find(key)
        if entry is not None:
            entry.size = size
