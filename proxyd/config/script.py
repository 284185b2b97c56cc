"""What checks by TCP and UDP send, and what must come back: text, bytes in hexadecimal digits, patterns, and scripts of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema, model_validator

from proxyd.config.base import INTEGER, STRING, Model, Short, with_keyword
from proxyd.config.regex import REGEX_FORM, Regex, parse_regex
from proxyd.config.text import Flag, Text, as_text
from proxyd.config.units import Size, Within
from proxyd.diagnostics.fail import fail, shown
from proxyd.diagnostics.nodes import SecretText

LONGEST = 64 * 1024
LONGEST_DATAGRAM = 65_507  # RFC 768, in a packet of IPv4
LONGEST_NAME = 253
MOST_STEPS = 100
SCANNED = "256KiB"
_HEX = re.compile(r"(?:\s*[0-9A-Fa-f]{2})*\s*\Z")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\Z")


def check_bytes(text: str) -> str:
    if len(text) > LONGEST:
        raise fail("PXD-033", f"the text has {len(text)} characters", f"allowed: up to {LONGEST}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise fail("PXD-038", "the text is not valid Unicode", "for bytes that are no text write `send_hex` or `expect_hex`") from None
    return text


def check_sent(text: str) -> str:
    if not text:
        raise fail("PXD-022", "an empty text sends nothing", "leave `send` out")
    return check_bytes(text)


def check_hex(text: str) -> str:
    """Pairs of digits, with blanks where one likes; canonical: small letters, a blank between bytes."""
    if not _HEX.match(text):
        help = "bytes are like `00 ff 1b`, with or without the blanks"
        raise fail("PXD-038", f"{shown(text)} is not written in pairs of hexadecimal digits", help)
    data = bytes.fromhex(check_bytes(text))
    if not data:
        raise fail("PXD-022", "no bytes are written", "leave it out")
    return type(text)(data.hex(" ")) if isinstance(text, SecretText) else data.hex(" ")


def check_expected(value: object) -> str | Regex:
    if isinstance(value, Regex):
        return value
    if isinstance(value, dict):
        return parse_regex(value)
    text = check_bytes(as_text(value))
    if not text:
        raise fail("PXD-022", "an empty text is found in every answer", "leave `expect` out")
    return text


def check_dns_name(text: str) -> str:
    """Without its last dot, which says nothing here; the root is `.`."""
    name = text.removesuffix(".").lower()
    if (name and not all(map(_LABEL.match, name.split(".")))) or len(name) > LONGEST_NAME or not text:
        raise fail("PXD-038", f"{shown(text)} is not a name that DNS knows", "like `example.com`; names beyond ASCII as `xn--…`")
    return name or "."


def bytes_of(value: object) -> object:
    """A plain number counts bytes."""
    return f"{value}B" if isinstance(value, int) and not isinstance(value, bool) else value


Sent = Annotated[Text, AfterValidator(check_sent)]
Hex = Annotated[Text, AfterValidator(check_hex)]
Expected = Annotated[str | Regex, PlainValidator(check_expected), WithJsonSchema({"anyOf": [STRING, REGEX_FORM]})]


class Said(Model):
    """What is sent and what must come, each as text or as bytes."""

    send: Sent | None = Field(None, description="Text to send, as UTF-8; escapes in double quotes.", examples=["PING\r\n"])
    send_hex: Hex | None = Field(None, description="Bytes to send, in hexadecimal digits.", examples=["00 00 00 08 04 d2 16 2f"])
    expect: Expected | None = Field(
        None, description="Must occur in what the server says: text, or `{regex: …}`; unset: nothing must.", examples=["+PONG"]
    )
    expect_hex: Hex | None = Field(None, description="The same as bytes, in hexadecimal digits.", examples=["53"])

    def in_force(self) -> tuple[str, ...]:
        return tuple(name for name in super().in_force() if getattr(self, name) is not None)

    @property
    def sent(self) -> bytes | None:
        return _bytes(self.send, self.send_hex)

    @property
    def expected(self) -> bytes | Regex | None:
        return self.expect if isinstance(self.expect, Regex) else _bytes(self.expect, self.expect_hex)

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        for name in ("send", "expect"):
            if getattr(self, name) is not None and getattr(self, f"{name}_hex") is not None:
                raise fail("PXD-024", f"`{name}` and `{name}_hex` exclude one another", at=(f"{name}_hex",), key=True)
        return self


def _bytes(text: str | None, digits: str | None) -> bytes | None:
    return bytes.fromhex(digits) if digits is not None else None if text is None else text.encode()


if TYPE_CHECKING:

    class Guard(Model): ...

else:
    Guard = with_keyword(
        "Guard", "not", Flag, Field(False, description="The check fails if this comes before the next step's `expect` is met.")
    )


class ScriptStep(Guard, Said):
    """One of `send`, `send_hex`, `expect` and `expect_hex`."""

    within: Annotated[Size, Within("1B", SCANNED), Short(bytes_of, (INTEGER,))] = Field(
        Size(SCANNED), description="It must come within so many bytes since the last step."
    )

    def in_force(self) -> tuple[str, ...]:
        kinds = tuple(name for name in super().in_force() if name not in ("within", "not"))
        return (*kinds, *(("within",) if self.within != Size(SCANNED) else ()), *(("not",) if self.is_guard else ()))

    @property
    def is_guard(self) -> bool:
        return bool(getattr(self, "not"))

    @model_validator(mode="after")
    def _check(self) -> Self:
        kinds = [name for name in ("send", "send_hex", "expect", "expect_hex") if getattr(self, name) is not None]
        if not kinds:
            raise fail("PXD-022", "the step says nothing", "write one of: send, send_hex, expect, expect_hex")
        if len(kinds) > 1:
            help = "each is a step of its own: `- send: …`, `- expect: …`"
            raise fail("PXD-024", f"a step has `{kinds[0]}` or `{kinds[1]}`, not both", help, at=(kinds[1],), key=True)
        expected = self.expected
        for name in ("within", "not"):
            if expected is None and name in self.model_fields_set:
                raise fail("PXD-024", f"`{name}` has no meaning in a step that sends", at=(name,), key=True)
        if self.is_guard and "within" in self.model_fields_set:
            raise fail("PXD-024", "`within` belongs to the `expect` that ends the search", at=("within",), key=True)
        if isinstance(expected, bytes) and len(expected) > self.within:
            raise fail("PXD-039", f"what is expected has {len(expected)} bytes, more than {self.within}", at=("within",))
        return self


class Tcp(Said):
    script: tuple[ScriptStep, ...] | None = Field(
        None,
        description=(
            "Instead of the above: steps over one connection, in order. What an `expect` has found is gone for the next, and all before it."
        ),
        examples=[[{"send": "INFO replication\r\n"}, {"expect": "role:master"}]],
    )

    @property
    def steps(self) -> tuple[ScriptStep, ...]:
        """The script; of the short form, what it stands for."""
        if self.script is not None:
            return self.script
        names = ("send", "send_hex", "expect", "expect_hex")
        given: dict[str, Any] = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return tuple(ScriptStep.model_validate({name: value}) for name, value in given.items())

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.script is None:
            return self
        for name in ("send", "send_hex", "expect", "expect_hex"):
            if getattr(self, name) is not None:
                raise fail("PXD-024", f"`script` and `{name}` exclude one another", f"make `{name}` a step", at=(name,), key=True)
        if not self.script:
            raise fail("PXD-022", "the script has no steps", "write `tcp: true` for a connection alone", at=("script",))
        if len(self.script) > MOST_STEPS:
            raise fail("PXD-033", f"the script has {len(self.script)} steps", f"allowed: up to {MOST_STEPS}", at=("script",))
        for index, step in enumerate(self.script):
            if step.is_guard and (index + 1 == len(self.script) or self.script[index + 1].expected is None):
                message = "a step with `not` holds until the `expect` behind it is met, and there is none"
                raise fail("PXD-022", message, "add an `expect` for what ends the answer", at=("script", index, "not"), key=True)
        return self


class Udp(Said):
    dns: Annotated[Text, AfterValidator(check_dns_name)] | None = Field(
        None,
        description=(
            "Instead of the above: a name whose address is asked for. An answer passes, also one that says that there is no such name."
        ),
        examples=["example.com"],
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("send", "send_hex", "expect", "expect_hex"):
            if self.dns is not None and getattr(self, name) is not None:
                raise fail("PXD-024", f"`dns` and `{name}` exclude one another", at=(name,), key=True)
        if self.dns is None and self.sent is None:
            help = "write `send` or `send_hex`, or `dns: NAME` for resolvers"
            raise fail("PXD-022", "a UDP check needs something to send: nothing else tells whether a server is there", help)
        size = len(self.sent or b"")
        if size > LONGEST_DATAGRAM:
            at = "send" if self.send is not None else "send_hex"
            raise fail("PXD-033", f"a datagram has no room for {size} bytes", f"allowed: up to {LONGEST_DATAGRAM}", at=(at,))
        return self
