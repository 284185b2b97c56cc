"""Tests of a value: text for an exact one, or `{exact | prefix | suffix | regex | present: …, not: true}`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, model_validator

from proxyd.config.base import STRING, Model, Short, with_keyword
from proxyd.config.regex import check_regex
from proxyd.config.text import Flag, Text
from proxyd.diagnostics.fail import fail

LONGEST = 4096
TestKind = Literal["present", "exact", "prefix", "suffix", "regex"]
KINDS: tuple[TestKind, ...] = ("exact", "prefix", "suffix", "regex", "present")

if TYPE_CHECKING:

    class Negatable(Model): ...

else:
    Negatable = with_keyword("Negatable", "not", Flag, Field(False, description="Turns the result."))


def check_test_text(text: str) -> str:
    if not text:
        raise fail("PXD-022", "an empty text to compare with", "for a field that is not there write `{present: false}`")
    if len(text) > LONGEST or "\0" in text or "\n" in text or "\r" in text:
        raise fail("PXD-038", "the text to compare with holds a line break or is longer than 4096 characters")
    return text


TestText = Annotated[Text, AfterValidator(check_test_text)]


class ValueTest(Negatable):
    """Exactly one of its options beside `not`."""

    __test__ = False  # not a class of tests, whatever pytest thinks

    exact: TestText | None = Field(None, description="The whole value, letter by letter.", examples=["prod"])
    prefix: TestText | None = Field(None, description="Its beginning.", examples=["v2."])
    suffix: TestText | None = Field(None, description="Its end.", examples=[".internal"])
    regex: Annotated[Text, AfterValidator(check_regex)] | None = Field(
        None, description="A regular expression that is found in it; `^` and `$` are its beginning and end.", examples=["^v[0-9]+$"]
    )
    present: Flag | None = Field(None, description="`true`: it is there, whatever it holds; `false`: it is not.", examples=[True])

    def in_force(self) -> tuple[str, ...]:
        return (self.kind, "not") if getattr(self, "not") else (self.kind,)

    @property
    def kind(self) -> TestKind:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def value(self) -> str:
        """What is compared; empty for `present`."""
        return "" if self.kind == "present" else str(getattr(self, self.kind))

    @property
    def negate(self) -> bool:
        return bool(getattr(self, "not")) != (self.present is False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        if not kinds:
            raise fail("PXD-022", "the test compares nothing", f"write text, or one of: {', '.join(KINDS)}")
        if len(kinds) > 1:
            raise fail("PXD-024", f"`{kinds[0]}` and `{kinds[1]}` exclude one another", "a test is of one kind", at=(kinds[1],), key=True)
        return self

    def __str__(self) -> str:
        """`= prod`, `not ~ ^v`, `present`."""
        words = {"exact": f"= {self.exact}", "prefix": f"= {self.prefix}*", "suffix": f"= *{self.suffix}", "regex": f"~ {self.regex}"}
        said = words.get(self.kind, "present")
        return f"not {said}" if self.negate else said


def expand_test(value: object) -> object:
    """Text is compared as a whole; what YAML read as a number or a switch is text here."""
    return {"exact": value} if isinstance(value, str | int | float) else value


TestField = Annotated[ValueTest, Short(expand_test, (STRING, {"type": "number"}))]


class Demand(NamedTuple):
    """What a match asks of a request beside host, path and method, as plain values; `proxyd_ext.snapshot.spec.Condition` has the same."""

    of: Literal["header", "query", "cookie", "source", "path", "host"]
    test: Literal["present", "exact", "prefix", "suffix", "regex", "network"]
    name: str = ""
    value: str = ""
    networks: tuple[str, ...] = ()
    negate: bool = False
