"""What a pydantic annotation is made of: a model, a mapping or a list of something, or a leaf. For messages, documentation and samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from proxyd.diagnostics.suggest import closest

Kind = Literal["model", "map", "list", "leaf"]


@dataclass(frozen=True, slots=True, eq=False)  # eq=False: annotations must be hashable, and mappings are not
class Choice:
    """Annotation of a base class of models: the word of one option says which of them a mapping is.

    `models`: by word; the first is meant where the option is missing. `always`: options that every model has, and that are all that is
    looked at where the word was refused. `hints`: what to do instead, by the path of an option that some of the models lack.
    """

    key: str
    models: Mapping[str, type[BaseModel]]
    always: tuple[str, ...] = ()
    hints: Mapping[str, str] = field(default_factory=dict)

    def word_of(self, value: object) -> str:
        """The word of a mapping; of a misspelt one, the word that is most likely meant."""
        word = value.get(self.key) if isinstance(value, Mapping) else None
        first = next(iter(self.models))
        if not isinstance(word, str) or word in self.models:
            return word if isinstance(word, str) else first
        return closest(word, self.models) or next((known for known in self.models if word and known.startswith(word)), first)

    def model_of(self, value: object) -> type[BaseModel]:
        return self.models[self.word_of(value)]

    def variants(self) -> tuple[type[BaseModel], ...]:
        """Each model once."""
        return tuple(dict.fromkeys(self.models.values()))

    def validate(self, value: object, handler: object = None) -> BaseModel:
        if isinstance(value, BaseModel):
            return value
        if isinstance(value, Mapping) and self.key in getattr(value, "lost", ()):
            value = {name: entry for name, entry in value.items() if name in self.always}
        return self.model_of(value).model_validate(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        models = core_schema.union_schema([handler.generate_schema(model) for model in self.variants()])    # for the JSON Schema alone
        return core_schema.no_info_wrap_validator_function(self.validate, models)


@dataclass(frozen=True, slots=True)
class Shape:
    kind: Kind
    annotation: Any  # without Annotated and None
    metadata: tuple[object, ...] = ()  # of every Annotated layer, outermost first
    model: type[BaseModel] | None = None
    item: Any = None  # annotation of the values or items

    def meta(self, wanted: type) -> list[Any]:
        return [entry for entry in self.metadata if isinstance(entry, wanted)]


def shape_of(annotation: Any, metadata: Sequence[object] = ()) -> Shape:
    """Look through Annotated, Optional and unions with a plain word; FieldInfo inside Annotated gives up its own metadata."""
    layers: list[object] = list(metadata)
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *more = get_args(annotation)
            for entry in more:
                layers += [*entry.metadata, entry] if isinstance(entry, FieldInfo) else [entry]
        elif origin is Union or origin is UnionType:
            arms = [arm for arm in get_args(annotation) if arm is not NoneType]
            rest = [arm for arm in arms if get_origin(arm) is not Literal] or arms
            if len(arms) == 2 and len(rest) == 1 and arms != rest:
                layers += [arm for arm in arms if arm not in rest]
            annotation = rest[0]
        else:
            break
    known = tuple(layers)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return Shape("model", annotation, known, model=annotation)
    if origin is dict:
        return Shape("map", annotation, known, item=get_args(annotation)[1])
    if origin in (tuple, list):
        return Shape("list", annotation, known, item=get_args(annotation)[0])
    return Shape("leaf", annotation, known)


def field_shape(field: FieldInfo) -> Shape:
    return shape_of(field.annotation, field.metadata)


def walk(model: type[BaseModel], path: Sequence[str | int], data: object = None) -> Shape | None:
    """The shape at a path of keys and indices below a model; None where the path leads nowhere. `data`: what stands there, for choices."""
    here = Shape("model", model, model=model)
    for step in path:
        data = _below(data, step)
        if here.model is not None:
            field = here.model.model_fields.get(step) if isinstance(step, str) else None
            if field is None:
                return None
            here = field_shape(field)
        elif here.kind in ("map", "list"):
            here = shape_of(here.item)
        else:
            return None
        for choice in here.meta(Choice):
            here = replace(here, model=choice.model_of(data))
    return here


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An option that the model at hand lacks, and others of its choice have."""

    choice: Choice
    word: str  # of the model at hand
    others: tuple[str, ...]  # words of those that have it
    path: tuple[str | int, ...]  # of the option, from the choice on


def elsewhere(model: type[BaseModel], path: Sequence[str | int], data: object = None) -> Elsewhere | None:
    """Whether an unknown option is one that other models of a choice on the way to it have."""
    for length in range(len(path)):
        here = walk(model, path[:length], data)
        if here is None:
            return None
        for choice in here.meta(Choice):
            place = data
            for step in path[:length]:
                place = _below(place, step)
            rest = tuple(path[length:])
            word = choice.word_of(place)
            others = tuple(other for other, known in choice.models.items() if other != word and walk(known, rest) is not None)
            if others:
                return Elsewhere(choice, word, others, rest)
    return None


def homes_of(model: type[BaseModel], name: str) -> tuple[tuple[str, ...], ...]:
    """The paths below a model, `NAME` for keys that the user chooses, whose models have an option of this name: those nearest to the top,
    and none where there are more than two of them, since it says nothing then."""
    homes = _homes(model).get(name, ())
    return homes if len(homes) <= 2 else ()


@cache
def _homes(model: type[BaseModel]) -> dict[str, tuple[tuple[str, ...], ...]]:
    """By option, in one walk from the top."""
    found: dict[str, tuple[tuple[str, ...], ...]] = {}
    level: list[tuple[tuple[str, ...], Shape]] = [((), Shape("model", model, model=model))]
    seen: set[type[BaseModel]] = set()
    while level:
        models = [(path, known) for path, shape in level for known in _models_of(shape) if known not in seen]
        for name in {name for _, known in models for name in known.model_fields} - found.keys():
            found[name] = tuple(dict.fromkeys(path for path, known in models if name in known.model_fields))
        seen |= {known for _, known in models}
        level = [_inside(path, key, field_shape(field)) for path, known in models for key, field in known.model_fields.items()]
    return found


def _models_of(shape: Shape) -> tuple[type[BaseModel], ...]:
    choices = shape.meta(Choice)
    return choices[0].variants() if choices else (shape.model,) if shape.model is not None else ()


def _inside(path: tuple[str, ...], key: str, shape: Shape) -> tuple[tuple[str, ...], Shape]:
    """A field of a model: where its options are, and their shape. Of a mapping or a list that of what it holds."""
    if shape.kind == "map":
        return (*path, key, "NAME"), shape_of(shape.item)
    return (*path, key), shape_of(shape.item) if shape.kind == "list" else shape


def _below(data: object, step: str | int) -> object:
    if isinstance(data, Mapping):
        return data.get(step)
    return data[step] if isinstance(data, list) and isinstance(step, int) and 0 <= step < len(data) else None
