"""The way from pydantic's errors to findings, on a small model that has nothing to do with proxies."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from proxyd.diagnostics.compose import compose
from proxyd.diagnostics.diagnostic import Diagnostic, Source
from proxyd.diagnostics.fail import fail
from proxyd.diagnostics.marked import Map, mark
from proxyd.diagnostics.validate import Validated, validate


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Cup(Strict):
    later: ClassVar[frozenset[str]] = frozenset({"saucer"})

    size: Annotated[int, Field(ge=1, le=9)] = 1
    kind: Literal["tea", "coffee"] = "tea"
    handle: str | None = None
    owner: str = Field(examples=["Ada"])

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kind == "coffee" and self.size > 5:
            raise fail("PXD-039", "too much coffee", at=("size",))
        return self


class Shelf(Strict):
    cups: list[Cup] = []
    named: dict[str, Cup] = {}
    tags: Annotated[list[int], Field(min_length=1)] = [1]


def run(text: str) -> tuple[Validated[Shelf], list[tuple[str, int, int]]]:
    root, found = compose(Source("x", text))
    assert root is not None
    assert found == []
    data = mark(root, found)
    assert isinstance(data, Map)
    result = validate(Shelf, data)
    return result, sorted((item.code, *_at(item)) for item in result.found)


def _at(item: Diagnostic) -> tuple[int, int]:
    assert item.span is not None
    return item.span.line + 1, item.span.column + 1


def test_a_sound_text_becomes_the_model() -> None:
    result, found = run("cups: [{owner: me, size: 3}]")
    assert found == []
    assert result.value == Shelf(cups=[Cup(owner="me", size=3)])


def test_unknown_options_with_suggestion_and_those_of_later() -> None:
    result, found = run("cups:\n- {owner: me, knid: tea}\n- {owner: me, saucer: 1}\n- {owner: me, xyz: 1}\n")
    assert found == [("PXD-021", 2, 15), ("PXD-021", 3, 15), ("PXD-021", 4, 15)]
    helps = [item.help for item in result.found]
    assert helps == [
        "did you mean `kind`? allowed: handle, kind, owner, size",
        "`saucer` is not in this version yet; allowed: handle, kind, owner, size",
        "allowed: handle, kind, owner, size",
    ]
    assert result.value is not None
    assert len(result.value.cups) == 3


def test_one_mistake_gives_one_finding() -> None:
    assert run("cups: [{ownr: me}]")[1] == [("PXD-021", 1, 9)]  # not that `owner` is missing as well
    assert run("tags: [x]")[1] == [("PXD-030", 1, 8)]  # not that `tags` is empty as well
    assert run("cups: [{owner: me, kind: coffee, size: 99}]")[1] == [("PXD-033", 1, 40)]


def test_later_checks_run_on_what_is_left() -> None:
    result, found = run("cups:\n- {owner: me, size: x}\n- {owner: me, kind: coffee, size: 7}\n- {owner: [], kind: cofee}\n")
    assert found == [("PXD-030", 2, 21), ("PXD-030", 4, 11), ("PXD-034", 4, 21), ("PXD-039", 3, 35)]
    assert result.value is not None


def test_indices_stay_right_while_items_are_taken_out() -> None:
    text = "cups:\n- 1\n- {owner: a, kind: coffee, size: 6}\n- 2\n- {owner: b, kind: coffee, size: 8}\n"
    assert run(text)[1] == [("PXD-030", 2, 3), ("PXD-030", 4, 3), ("PXD-039", 3, 34), ("PXD-039", 5, 34)]


def test_missing_points_at_the_key_of_what_lacks_it() -> None:
    result, found = run("named:\n  blue: {size: 2}\n")
    assert found == [("PXD-022", 2, 3)]
    assert (result.found[0].message, result.found[0].help) == ("missing option `owner` in `named.blue`", "like `owner: Ada`")


def test_words_for_kinds_and_bounds() -> None:
    result, _ = run("cups: {}\nnamed: [1]\ntags: 5\n")
    assert [item.message for item in result.found] == [
        "expected a list for `cups`, got a mapping",
        "expected a mapping for `named`, got a list",
        "expected a list for `tags`, got the scalar `5`",
    ]
    result, _ = run("cups: [{owner: x, size: 10, kind: te}]")
    assert {(item.message, item.help) for item in result.found} == {
        ("`10` is out of bounds for `cups[0].size`", "allowed: 1 to 9"),
        ("`te` is not allowed for `cups[0].kind`", "did you mean `tea`? allowed: tea, coffee"),
    }
