"""A YAML document as a tree in which every key and value knows its place in the text."""

from __future__ import annotations

from dataclasses import dataclass, field

from proxyd.diagnostics.diagnostic import Span
from proxyd.diagnostics.scalars import Scalar, resolve


class SecretText(str):
    """Text that came from the environment or from a secret file: it is shown as `***`, whoever prints it."""

    __slots__ = ()


@dataclass(slots=True)
class ScalarNode:
    span: Span
    text: str
    plain: bool = True  # unquoted: subject to the core schema
    secret: bool = False  # text from outside the file was put in
    broken: bool = False  # a finding about it stands already; it has no value

    @property
    def value(self) -> Scalar:
        if self.broken:
            return None
        if self.secret:
            return SecretText(self.text)
        return resolve(self.text) if self.plain else self.text


@dataclass(slots=True)
class SequenceNode:
    span: Span
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class MappingNode:
    span: Span
    entries: dict[str, tuple[ScalarNode, Node]] = field(default_factory=dict)


Node = ScalarNode | SequenceNode | MappingNode
