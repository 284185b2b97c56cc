from __future__ import annotations

from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Le
from pydantic import BaseModel, Field, TypeAdapter

from proxyd.config.model import Config
from proxyd.diagnostics.shape import Choice, Elsewhere, Shape, elsewhere, field_shape, homes_of, shape_of, walk


class Leaf(BaseModel):
    number: Annotated[int, Field(ge=1, le=9)] = 1
    word: Literal["auto"] | int = "auto"


class Tree(BaseModel):
    leaf: Leaf | None = None
    named: dict[str, Leaf] = {}
    listed: tuple[Annotated[Leaf, "note"], ...] = ()
    plain: Annotated[str, "outer"] | None = None


class Animal(BaseModel):
    kind: str = "cat"
    name: str = ""


class Cat(Animal):
    lives: int = 9


class Leash(BaseModel):
    length: int = 1


class Dog(Animal):
    leash: Leash = Leash()


KINDS = Choice("kind", {"cat": Cat, "lion": Cat, "dog": Dog})


class Zoo(BaseModel):
    cages: dict[str, Annotated[Animal, KINDS]] = {}
    first: Annotated[Animal, KINDS] | None = None


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


def test_a_choice_goes_by_its_word() -> None:
    zoo = Zoo.model_validate({"cages": {"a": {"kind": "dog", "leash": {"length": 3}}, "b": {"lives": 7}}, "first": {"kind": "lion"}})
    assert [type(animal) for animal in (*zoo.cages.values(), zoo.first)] == [Dog, Cat, Cat]
    assert Zoo.model_validate(zoo).cages == zoo.cages
    assert TypeAdapter(Annotated[Animal, KINDS]).validate_python(Dog()) == Dog()
    assert {*Zoo.model_json_schema()["$defs"]} == {"Cat", "Dog", "Leash"}


def test_a_misspelt_word_is_taken_for_the_nearest() -> None:
    words = [KINDS.word_of({"kind": word}) for word in ("dgo", "do", "fish", "", ["dog"], None)]
    assert words == ["dog", "dog", "cat", "cat", "cat", "cat"]
    assert KINDS.word_of(5) == KINDS.word_of({}) == "cat"
    assert KINDS.variants() == (Cat, Dog)


def test_walk_follows_a_choice() -> None:
    data = {"cages": {"a": {"kind": "dog"}, "b": {}}}
    [dog, cat] = [walk(Zoo, ("cages", name), data) for name in data["cages"]]
    assert dog is not None
    assert cat is not None
    assert (dog.model, cat.model) == (Dog, Cat)
    assert walk(Zoo, ("cages", "a", "leash", "length"), data) is not None
    assert walk(Zoo, ("cages", "b", "leash"), data) is None


def test_options_of_other_models_of_a_choice() -> None:
    data = {"cages": {"a": {"kind": "dog"}, "b": {}}}
    assert elsewhere(Zoo, ("cages", "a", "lives"), data) == Elsewhere(KINDS, "dog", ("cat", "lion"), ("lives",))
    assert elsewhere(Zoo, ("cages", "b", "leash", "length"), data) == Elsewhere(KINDS, "cat", ("dog",), ("leash", "length"))
    for path in (("cages", "a", "wings"), ("cages",), ("nothing", "lives")):
        assert elsewhere(Zoo, path, data) is None


def test_where_an_option_is_at_home() -> None:
    assert homes_of(Config, "balance") == (("upstreams", "NAME"),)
    assert homes_of(Config, "header_size") == (("listeners", "NAME", "limits"),)
    assert homes_of(Config, "strip_prefix") == (("routes", "rewrite"),)
    assert homes_of(Config, "nothing") == ()
