"""Marked data → a pydantic model, or findings at their places; every mistake is found in one run.

pydantic tells all errors of the fields, but checks that need a whole object (of a model, of the config) run only when its fields are
right. So what was refused is taken out and the rest is validated again, until it stands. A finding of a later round counts unless a
known part was taken out of what it speaks of: then it may be a mere consequence. What remains at the end is incomplete, but sound, and
good for the checks that look across the whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from annotated_types import Ge, Le
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from proxyd.diagnostics.diagnostic import Diagnostic
from proxyd.diagnostics.fail import shown
from proxyd.diagnostics.flow import flow
from proxyd.diagnostics.marked import Map, Seq, Step, dotted, locate, remove
from proxyd.diagnostics.nodes import SecretText
from proxyd.diagnostics.shape import Shape, elsewhere, homes_of, walk
from proxyd.diagnostics.suggest import closest

M = TypeVar("M", bound=BaseModel)
_ROUNDS = 20
MOST = 500  # mistakes that are told
_EXPECTED = {"model_type": "a mapping", "dict_type": "a mapping", "tuple_type": "a list", "list_type": "a list", "string_type": "text"}
_LOC_TAG = "[key]"  # pydantic's last step when a mapping's key is at fault


@dataclass(frozen=True, slots=True)
class Validated(Generic[M]):
    """`value` is whole when there are no findings; else it lacks what they speak of, or is None where nothing stood."""

    value: M | None
    found: list[Diagnostic]


def validate(model: type[M], data: Map) -> Validated[M]:
    """Validate `data`, from which everything refused is removed in place."""
    found: list[Diagnostic] = []
    for _ in range(_ROUNDS):
        try:
            return Validated(model.model_validate(data), found)
        except ValidationError as error:
            mistakes = [_Mistake(model, data, detail) for detail in error.errors(include_url=False)]
        told = islice((mistake for mistake in mistakes if not mistake.is_consequence(mistakes)), MOST)
        found += [mistake.diagnostic() for mistake in told]
        if len(found) >= MOST:
            return Validated(None, [*found[:MOST], enough(found[:MOST])])
        # the last first, so that an item taken out of a list does not shift those still to be taken out
        guilty = {mistake.culprit(): not mistake.is_extra or bool(mistake.meant()) for mistake in mistakes}
        if not sum(remove(data, path, known=guilty[path]) for path in sorted(guilty, key=_reading_order, reverse=True)):
            break
    return Validated(None, found)


def enough(found: Iterable[Diagnostic]) -> Diagnostic:
    """Says, behind the last of them, that no more was looked for: the file is no config, or has one mistake a thousand times."""
    last = max((item.span for item in found if item.span is not None), key=lambda span: (span.line, span.end_column), default=None)
    span = last._replace(column=last.end_column, end_line=last.line) if last is not None else None
    return Diagnostic("PXD-004", f"more than {MOST} mistakes", span, "mend these first: what else is wrong is told then")


def _reading_order(path: tuple[Step, ...]) -> list[tuple[int, str]]:
    return [(step, "") if isinstance(step, int) else (-1, step) for step in path]


class _Mistake:
    """One of pydantic's errors, on its way to a finding."""

    def __init__(self, model: type[BaseModel], data: Map, detail: ErrorDetails) -> None:
        self.model, self.data, self.detail = model, data, detail
        self.context: dict[str, Any] = detail.get("ctx", {})
        loc = tuple(detail["loc"])
        self.at_key = bool(loc) and loc[-1] == _LOC_TAG
        self.loc: tuple[Step, ...] = loc[:-1] if self.at_key else loc
        self.kind: str = detail["type"]
        self.value = detail["input"]

    @property
    def is_extra(self) -> bool:
        return self.kind == "extra_forbidden"

    def shape(self, path: tuple[Step, ...]) -> Shape | None:
        return walk(self.model, path, self.data)

    def target(self) -> tuple[Step, ...]:
        """The path that the finding points at."""
        return (*self.loc, *self.context.get("at", ()))

    def culprit(self) -> tuple[Step, ...]:
        """What to take out: for a missing part, the whole that lacks it."""
        return self.loc[:-1] if self.kind == "missing" else self.target()

    def is_consequence(self, others: list[_Mistake]) -> bool:
        """Whether it merely follows from another mistake of this round, or from what was taken out before."""
        if self.kind == "missing" and any(other.is_extra and (*other.loc[:-1], other.meant()) == self.loc for other in others):
            return True  # it is there, misspelt
        if self.kind == "too_short" and any(len(other.loc) > len(self.loc) and other.loc[: len(self.loc)] == self.loc for other in others):
            return True  # its items are wrong
        place = locate(self.data, self.loc)
        if self.kind == "missing" and place.depth == len(self.loc) - 1:
            return isinstance(place.here, Map) and self.loc[-1] in place.here.lost
        return place.depth == len(self.loc) and isinstance(place.here, Map | Seq) and place.here.tainted

    def diagnostic(self) -> Diagnostic:
        code, message, help = self.words()
        if isinstance(self.value, SecretText):
            message, help = _without(self.value, message), _without(self.value, help)
        place = locate(self.data, self.target())
        keyed = (
            self.is_extra
            or self.kind in ("missing", "too_short")
            or ((self.at_key or self.context.get("key")) and place.depth == len(self.target()))
        )
        return Diagnostic(code, message, place.key if keyed else place.value, help, path=dotted(self.target()))

    def words(self) -> tuple[str, str, str]:
        """Code, message and help."""
        if "message" in self.context and "help" in self.context:
            return self.kind, self.context["message"], self.context["help"]
        where = f"`{dotted(self.loc)}`"
        if self.is_extra:
            return self.unknown()
        if self.kind == "missing":
            owner = dotted(self.loc[:-1])
            return "PXD-022", f"missing option `{self.loc[-1]}`" + (f" in `{owner}`" if owner else ""), self.sample()
        if self.kind == "literal_error":
            allowed = re.findall(r"'([^']*)'", self.context.get("expected", "")) or [str(self.context.get("expected", ""))]
            near = closest(self.value, allowed) if isinstance(self.value, str) else None
            return (
                "PXD-034",
                f"{shown(self.value)} is not allowed for {where}",
                (f"did you mean `{near}`? " if near else "") + f"allowed: {', '.join(allowed)}",
            )
        if self.kind in ("greater_than_equal", "less_than_equal"):
            return "PXD-033", f"{shown(self.value)} is out of bounds for {where}", self.bounds()
        if self.kind == "too_short":
            return "PXD-022", f"{where} is empty", self.sample()
        if self.kind in _EXPECTED:
            return "PXD-030", f"expected {_EXPECTED[self.kind]} for {where}, got {_sort(self.value)}", self.sample() or self.options()
        return "PXD-030", f"{where}: {self.detail['msg']}", ""

    def unknown(self) -> tuple[str, str, str]:
        owner = self.shape(self.loc[:-1])
        known = sorted(owner.model.model_fields) if owner and owner.model else []
        later: frozenset[str] = getattr(owner.model, "later", frozenset()) if owner and owner.model else frozenset()
        name, near = str(self.loc[-1]), self.meant()
        other = elsewhere(self.model, self.loc, self.data) if name not in later else None
        if other is not None:
            place = dotted([step for step in other.path if isinstance(step, str)])
            words = " and ".join(f"`{word}`" for word in other.others)
            help = other.choice.hints.get(place) or f"it is for {words}; allowed here: {', '.join(known)}"
            return "PXD-024", f"`{name}` has no meaning with `{other.choice.key}: {other.word}`", help
        moved = getattr(owner.model, "moved", {}).get(name) if owner and owner.model else None
        inside = f" in `{dotted(self.loc[:-1])}`" if len(self.loc) > 1 else ""
        if moved:
            help = moved
        elif name in later:
            help = f"`{name}` is not in this version yet; allowed: {', '.join(known)}"
        else:
            soon = " (not in this version yet)" if near in later else ""
            homes = " and ".join(f"`{dotted(path)}`" for path in homes_of(self.model, name))
            hint = f"did you mean `{near}`{soon}? " if near else f"it is an option of {homes}; " if homes else ""
            help = f"{hint}allowed: {', '.join(known)}"
        return "PXD-021", f"unknown option {shown(name)}{inside}", help

    def sample(self) -> str:
        """A line that shows how it is written, from the field's own example."""
        owner = self.shape(self.loc[:-1])
        field = owner.model.model_fields.get(str(self.loc[-1])) if owner and owner.model and self.loc else None
        if field is None or not field.examples:
            return ""
        return f"like `{self.loc[-1]}: {flow(field.examples[0])}`"

    def options(self) -> str:
        here = self.shape(self.loc)
        return f"its options: {', '.join(sorted(here.model.model_fields))}" if here and here.model else ""

    def meant(self) -> str | None:
        """The option that an unknown one most likely stands for, or itself when it is one of a later version."""
        owner = self.shape(self.loc[:-1])
        if not self.is_extra or owner is None or owner.model is None:
            return None
        name = str(self.loc[-1])
        later: frozenset[str] = getattr(owner.model, "later", frozenset())
        if name not in later and elsewhere(self.model, self.loc, self.data) is not None:
            return None
        return name if name in later else closest(name, [*sorted(owner.model.model_fields), *sorted(later)])

    def bounds(self) -> str:
        here = self.shape(self.loc)
        low = [entry.ge for entry in here.meta(Ge)] if here else []
        high = [entry.le for entry in here.meta(Le)] if here else []
        if low and high:
            return f"allowed: {low[0]} to {high[0]}"
        limit = self.context.get("ge", self.context.get("le"))
        return f"allowed: {'at least' if 'ge' in self.context else 'at most'} {limit}"


def _without(secret: str, text: str) -> str:
    """The sentence with every quoted part hidden that is made of a secret, or holds one."""
    return re.sub(r"`([^`]+)`", lambda part: "`***`" if part[1].rstrip("…") in secret or secret in part[1] else part[0], text)


def _sort(value: object) -> str:
    return shown(value) if isinstance(value, dict | list) or value is None else f"the scalar {shown(value)}"
