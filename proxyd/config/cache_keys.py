"""What a cache looks at in a request: the parts of its keys, what goes past it, and the fields that carry tags.

The language is that of the other keys (keys.py) with what only a cache needs: `scheme`, the whole `query`, several parameters of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from proxyd.config.base import STRING, Model, Short
from proxyd.config.cookies import CookieName, check_cookie_name
from proxyd.config.headers import HeaderName, check_header_name
from proxyd.config.match import ParameterName, check_parameter
from proxyd.config.matchers import Demand, TestField
from proxyd.config.text import as_text
from proxyd.diagnostics.fail import fail, shown
from proxyd.diagnostics.suggest import closest

PartKind = Literal["scheme", "host", "path", "query", "header", "cookie"]
WHOLE: tuple[PartKind, ...] = ("scheme", "host", "path", "query")
NAMED: tuple[PartKind, ...] = ("query", "header", "cookie")
MAX_PARTS = 16
_FORMS = "`scheme`, `host`, `path`, `query`, `query:NAME,NAME`, `header:NAME` or `cookie:NAME`"
_ELSEWHERE = {"uri": "path, query", "url": "scheme, host, path, query", "method": "", "client.ip": "", "client.net": ""}
_BYPASSING = ("header", "query", "cookie")


def split_part(part: str) -> tuple[PartKind, tuple[str, ...]]:
    """A valid part's kind and the names in it: of query parameters, or of one field (in lower case) or cookie."""
    kind, colon, rest = part.partition(":")
    for known in (*WHOLE, *NAMED):
        if kind == known:
            return known, tuple((rest.lower() if known == "header" else rest).split(",")) if colon else ()
    raise ValueError(part)


def check_part(value: object) -> str:
    """`path`, `query:w,h`, `header:Accept-Language`."""
    text = as_text(value).strip()
    kind, colon, rest = text.partition(":")
    if text in WHOLE:
        return text
    if colon and kind in NAMED:
        names = [name.strip() for name in rest.split(",")]
        if kind != "query" and len(names) > 1:
            help = f"write {' and '.join(f'`{kind}:{name}`' for name in names)}"
            raise fail("PXD-034", f"{shown(text)} names several: it takes one", help)
        for number, name in enumerate(names):
            _check_name(kind, name)
            if name in names[:number]:
                raise fail("PXD-025", f"the parameter {shown(name)} is in {shown(text)} twice")
        return f"{kind}:{','.join(names)}"
    if text in _ELSEWHERE:
        help = f"write `key: [{_ELSEWHERE[text]}]`" if _ELSEWHERE[text] else f"write {_FORMS}"
        raise fail("PXD-034", f"{shown(text)} is not a part of a cache's key", help)
    near = closest(kind, (*WHOLE, "header", "cookie"))
    hint = f"did you mean `{near}{colon}{rest}`? " if near and (not colon or near in NAMED) else ""
    raise fail("PXD-034", f"{shown(text)} is not a part of a cache's key", f"{hint}write {_FORMS}")


def _check_name(kind: str, name: str) -> None:
    {"query": check_parameter, "header": check_header_name, "cookie": check_cookie_name}[kind](name)


def check_key_parts(parts: tuple[str, ...]) -> tuple[str, ...]:
    if len(parts) > MAX_PARTS:
        raise fail("PXD-033", f"the key has {len(parts)} parts", f"allowed: {MAX_PARTS}")
    seen: dict[tuple[str, str], str] = {}
    for number, part in enumerate(parts):
        kind, names = split_part(part)
        for name in names or ("",):
            if (kind, name) in seen:
                raise fail("PXD-025", f"`{part}` is in the key already" + (f", in `{seen[kind, name]}`" if name else ""), at=(number,))
            if kind == "query" and (kind, "") in seen:
                raise fail("PXD-024", f"`{part}` and `query`, the whole of it, exclude one another", "keep one of them", at=(number,))
            seen[kind, name] = part
        if part == "query" and any(other.startswith("query:") for other in parts[:number]):
            raise fail("PXD-024", "`query` is the whole of it, and parameters are in the key already", "keep one of them", at=(number,))
    return parts


def check_tag_field(value: object) -> str:
    """`header:Surrogate-Key`."""
    text = as_text(value).strip()
    kind, colon, name = text.partition(":")
    if not colon:
        raise fail("PXD-034", f"{shown(text)} does not say where tags come from", f"write `header:{text or 'Surrogate-Key'}`")
    if kind != "header":
        help = "the server tells them in a field of its answer: `header:Surrogate-Key`"
        raise fail("PXD-034", f"tags cannot come from {shown(text)}", help)
    return f"header:{check_header_name(name)}"


KeyPart = Annotated[
    str,
    PlainValidator(check_part),
    WithJsonSchema({"type": "string", "pattern": r"^(scheme|host|path|query|(query|header|cookie):.+)$|\$\{"}),
]
KeyParts = Annotated[tuple[KeyPart, ...], AfterValidator(check_key_parts)]
TagField = Annotated[str, PlainValidator(check_tag_field), WithJsonSchema({"type": "string", "pattern": r"^header:.+$|\$\{"})]


def expand_bypass(value: object) -> object:
    """`header:x` and a list of such: that it is there is enough."""
    entries = value if isinstance(value, list) else [value] if isinstance(value, str) else None
    if entries is None:
        return value
    found: dict[str, dict[str, object]] = {}
    for number, entry in enumerate(entries):
        at = (number,) if isinstance(value, list) else ()
        text = as_text(entry).strip() if isinstance(entry, str | int | float) else ""
        kind, colon, name = text.partition(":")
        if kind not in _BYPASSING or not colon:
            near = closest(kind, _BYPASSING)
            hint = f"did you mean `{near}:{name or 'NAME'}`? " if near else ""
            help = f"{hint}write `header:NAME`, `cookie:NAME` or `query:NAME`; for a test of its value, `{{header: {{X-A: b}}}}`"
            raise fail("PXD-034", f"{shown(entry)} does not say what goes past the cache", help, at=at)
        if name in found.get(kind, {}):
            raise fail("PXD-025", f"{shown(text)} is there twice", at=at)
        try:
            _check_name(kind, name)
        except ValueError as error:
            raise fail("PXD-034", f"{shown(name)} cannot be the name in `{kind}:…`", at=at) from error
        found.setdefault(kind, {})[name] = {"present": True}
    return found


class Bypass(Model):
    """Any one of it is enough, unlike in a match."""

    header: dict[HeaderName, TestField] = Field(
        {},
        description="Fields of the request by name, each with the text that it must be, or a test of it.",
        examples=[{"X-No-Cache": "1"}],
    )
    query: dict[ParameterName, TestField] = Field({}, description="Parameters of the query, the same way.", examples=[{"nocache": "1"}])
    cookie: dict[CookieName, TestField] = Field({}, description="Cookies, the same way.", examples=[{"session": {"present": True}}])

    @property
    def demands(self) -> tuple[Demand, ...]:
        return tuple(self._demands())

    def _demands(self) -> Iterator[Demand]:
        for name, test in self.header.items():
            yield Demand("header", test.kind, name.lower(), test.value, negate=test.negate)
        for name, test in self.query.items():
            yield Demand("query", test.kind, name, test.value, negate=test.negate)
        for name, test in self.cookie.items():
            yield Demand("cookie", test.kind, name, test.value, negate=test.negate)


BypassField = Annotated[Bypass, Short(expand_bypass, (STRING, {"type": "array", "items": STRING}))]
