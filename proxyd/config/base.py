"""What every class of the model shares, and how a shorthand stands beside its field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, create_model
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


class Model(BaseModel):
    """Immutable; unknown keys are errors. `later` names the keys that the interface reserves for versions to come; `moved` says of keys
    that one might look for here where to find them."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, validate_default=False, arbitrary_types_allowed=False)
    later: ClassVar[frozenset[str]] = frozenset()
    moved: ClassVar[Mapping[str, str]] = {}

    def in_force(self) -> tuple[str, ...]:
        """The fields that have an effect, which the canonical form shows."""
        return tuple(type(self).model_fields)


@dataclass(frozen=True, slots=True, eq=False)  # eq=False: annotations must be hashable, and the schemas are not
class Short:
    """Annotation: `expand` turns a short form into the canonical one before validation, and leaves everything else alone.

    `forms` are the JSON Schemas of the short forms, so that editors accept them.
    """

    expand: Callable[[object], object]
    forms: tuple[dict[str, Any], ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self.expand, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"anyOf": [*self.forms, handler(schema)]}


@dataclass(frozen=True, slots=True)
class Described:
    """Annotation: bounds that a validator of its own holds, in words."""

    bounds: str


STRING: dict[str, Any] = {"type": "string"}
INTEGER: dict[str, Any] = {"type": "integer"}
NONE: dict[str, Any] = {"const": "none"}
ON: dict[str, Any] = {"enum": ["on", True]}  # a reader of YAML 1.1 makes true of it


def listed(value: object) -> object:
    """One thing where a list is expected stands for a list of one."""
    return [value] if isinstance(value, str | int | float) and not isinstance(value, bool) else value


ONE_OR_MORE = Short(listed, (STRING,))


def none_or_on(value: object) -> object:
    """`none` is nothing; `on` is the mapping with all its defaults."""
    if value == "none" or value is False:
        return None
    return {} if value == "on" or value is True else value


NONE_OR_ON = Short(none_or_on, (NONE, ON))


def with_keyword(owner: str, name: str, annotation: Any, field: Any) -> type[Model]:
    """A base class with one field that a class body cannot spell, because `name` is a word of Python; `getattr` reads it."""
    fields: dict[str, Any] = {name: (annotation, field)}
    return create_model(owner, __base__=Model, __module__=__name__, **fields)


# Extra facts on a field: SHORT_FORM fields exist in the file only; loading lifts their content into the canonical fields.
SHORT_FORM: dict[str, Any] = {"short_form": True}
