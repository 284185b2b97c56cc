"""Did-you-mean: the known word that a misspelt one most likely stands for."""

from __future__ import annotations

from collections.abc import Collection


def distance(left: str, right: str, limit: int) -> int:
    """Optimal string alignment distance (Damerau 1964: insert, delete, replace, swap neighbours); more than `limit` is cut to limit + 1."""
    if abs(len(left) - len(right)) > limit:
        return limit + 1
    before: list[int] = []
    previous = list(range(len(right) + 1))
    for row, a in enumerate(left, 1):
        current = [row]
        for column, b in enumerate(right, 1):
            cost = min(previous[column] + 1, current[column - 1] + 1, previous[column - 1] + (a != b))
            if row > 1 and column > 1 and a == right[column - 2] and left[row - 2] == b:
                cost = min(cost, before[column - 2] + 1)
            current.append(cost)
        if min(current) > limit and min(previous) > limit:
            return limit + 1  # a row is never less than the least of the two above it
        before, previous = previous, current
    return min(previous[-1], limit + 1)


def closest(word: str, known: Collection[str]) -> str | None:
    """The nearest of `known`, when it is near enough to be meant; of equals the first by the alphabet."""
    if len(word) > 64:
        return None
    folded = word.lower().replace("-", "_")
    limit = 1 if len(folded) <= 4 else 2 if len(folded) <= 8 else 3
    best: tuple[int, str] | None = None
    for candidate in known:
        plain = candidate.lower().replace("-", "_")
        apart = distance(folded, plain, limit)
        if apart <= limit and apart < len(plain) and (best is None or (apart, candidate) < best):
            best = (apart, candidate)
    return best[1] if best else _beginning(folded, known)


def _beginning(word: str, known: Collection[str]) -> str | None:
    """The only one that is a beginning of the word, or that it is one of: `minimum` for `min`, `time` for `timeout`."""
    if "." in word:  # of a path only the end may be misspelt
        return None
    found = [name for name in known if min(len(name), len(word)) >= 3 and (word.startswith(name.lower()) or name.lower().startswith(word))]
    return found[0] if len(found) == 1 else None
