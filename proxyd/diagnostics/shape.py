"""What a pydantic annotation is made of: a model, a mapping or a list of something, or a leaf. For messages, documentation and samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Kind = Literal["model", "map", "list", "leaf"]


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


def walk(model: type[BaseModel], path: Sequence[str | int]) -> Shape | None:
    """The shape at a path of keys and indices below a model; None where the path leads nowhere."""
    here = Shape("model", model, model=model)
    for step in path:
        if here.model is not None:
            field = here.model.model_fields.get(step) if isinstance(step, str) else None
            if field is None:
                return None
            here = field_shape(field)
        elif here.kind in ("map", "list"):
            here = shape_of(here.item)
        else:
            return None
    return here
