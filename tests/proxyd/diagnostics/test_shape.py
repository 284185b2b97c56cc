from __future__ import annotations

from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Le
from pydantic import BaseModel, Field

from proxyd.diagnostics.shape import Shape, field_shape, shape_of, walk


class Leaf(BaseModel):
    number: Annotated[int, Field(ge=1, le=9)] = 1
    word: Literal["auto"] | int = "auto"


class Tree(BaseModel):
    leaf: Leaf | None = None
    named: dict[str, Leaf] = {}
    listed: tuple[Annotated[Leaf, "note"], ...] = ()
    plain: Annotated[str, "outer"] | None = None


def at(*path: str | int) -> Shape:
    shape = walk(Tree, path)
    assert shape is not None
    return shape


def test_walk_goes_through_optional_named_and_listed_models() -> None:
    assert at("leaf").model is Leaf
    assert at("named", "any", "number").annotation is int
    assert at("listed", 3).model is Leaf
    assert at("listed", 3).metadata == ("note",)
    assert at("plain").metadata == ("outer",)


def test_bounds_are_found_wherever_pydantic_keeps_them() -> None:
    number = at("leaf", "number")
    assert [entry.ge for entry in number.meta(Ge)] == [1]
    assert [entry.le for entry in number.meta(Le)] == [9]


def test_a_word_beside_a_type_is_metadata() -> None:
    shape = field_shape(Leaf.model_fields["word"])
    assert shape.annotation is int
    assert Literal["auto"] in shape.metadata


@pytest.mark.parametrize("path", [("leaf", "none"), ("leaf", "number", "deeper"), ("nothing",), (0,)])
def test_paths_that_lead_nowhere(path: tuple[str | int, ...]) -> None:
    assert walk(Tree, path) is None


def test_kinds() -> None:
    assert [shape_of(kind).kind for kind in (Leaf, dict[str, int], list[int], tuple[int, ...], int)] == [
        "model",
        "map",
        "list",
        "list",
        "leaf",
    ]
