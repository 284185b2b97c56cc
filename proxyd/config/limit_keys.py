"""What limits count by: a part of the request, or who makes it; or several of these together.

The language is that of the other keys (keys.py) with what only limits need: identity (`user`, `jwt.CLAIM`), and where the request came in
(`route`, `listener`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from proxyd.config.base import ONE_OR_MORE
from proxyd.config.cookies import check_cookie_name
from proxyd.config.headers import check_header_name
from proxyd.config.match import check_parameter
from proxyd.config.text import Integer, as_text
from proxyd.diagnostics.fail import fail, shown
from proxyd.diagnostics.suggest import closest

LimitKeyKind = Literal["client.ip", "host", "path", "method", "header", "cookie", "query", "user", "claim", "route", "listener"]
_PLAIN: tuple[LimitKeyKind, ...] = ("client.ip", "host", "path", "method", "user", "route", "listener")
_NAMED: tuple[LimitKeyKind, ...] = ("header", "cookie", "query")
WORDS = (*_PLAIN, "api_key")
MAX_PARTS = 4  # as many as engines put together (ext/proxyd_ext/filter/key.pxd:PARTS_MAX)
_CLAIM = re.compile(r"[!-~]{1,100}\Z")
_FORMS = (
    "`client.ip`, `host`, `path`, `method`, `header:NAME`, `cookie:NAME`, `query:NAME`, `user`, `api_key`, `jwt.CLAIM`, `route` or "
    "`listener`"
)
_ELSEWHERE = {  # the words that others use for it
    "ip": "client.ip",
    "client_ip": "client.ip",
    "remote_addr": "client.ip",
    "remote_address": "client.ip",
    "binary_remote_addr": "client.ip",
    "src": "client.ip",
    "source": "client.ip",
    "client.net": "client.ip",
    "server_name": "host",
    "http_host": "host",
    "uri": "path",
    "url": "path",
    "request_uri": "path",
    "request_method": "method",
    "verb": "method",
    "remote_user": "user",
    "consumer": "user",
    "apikey": "api_key",
    "jwt": "jwt.sub",
    "sub": "jwt.sub",
}
_ELSEWHERE_NAMED = {"http_": "header", "cookie_": "cookie", "arg_": "query"}  # nginx's variables


def split_limit_key(word: str) -> tuple[LimitKeyKind, str]:
    """A valid word's kind, and the name of the field (lower case), cookie, parameter or claim where it has one."""
    if word == "api_key":
        return "user", ""
    if word.startswith("jwt."):
        return "claim", word.removeprefix("jwt.")
    kind, _, name = word.partition(":")
    for plain in _PLAIN:
        if word == plain:
            return plain, ""
    for named in _NAMED:
        if kind == named:
            return named, name.lower() if named == "header" else name
    raise ValueError(word)


def check_limit_word(value: object) -> str:
    """`client.ip`, `header:X-Tenant`, `jwt.sub`."""
    text = as_text(value).strip()
    kind, colon, name = text.partition(":")
    if text in WORDS:
        return text
    if text.startswith("jwt."):
        if not _CLAIM.match(text.removeprefix("jwt.")):
            raise fail("PXD-034", f"{shown(text)} does not name a claim", "like `jwt.sub`")
        return text
    if colon and kind in _NAMED:
        if "," in name:
            help = f"write them as a list: `key: [{', '.join(f'{kind}:{part.strip()}' for part in name.split(','))}]`"
            raise fail("PXD-034", f"{shown(text)} names several: it takes one", help)
        {"header": check_header_name, "cookie": check_cookie_name, "query": check_parameter}[kind](name)
        return text
    if text.startswith("client.cert."):
        raise fail("PXD-034", f"the key {shown(text)} is not in this version yet", f"write {_FORMS}")
    raise fail("PXD-034", f"{shown(text)} is not what a limit can count by", _hint(text) + f"write {_FORMS}")


def _hint(text: str) -> str:
    bare = text.strip("${}").lower()
    kind, _, name = text.partition(":")
    near = _ELSEWHERE.get(bare)
    if near is None and kind == "jwt" and name:
        near = f"jwt.{name}"
    for prefix, named in _ELSEWHERE_NAMED.items():
        if near is None and bare.startswith(prefix) and len(bare) > len(prefix):
            rest = bare.removeprefix(prefix)
            near = f"{named}:{rest.replace('_', '-').title() if named == 'header' else rest}"
    if near is None:
        guess = closest(kind, (*WORDS, *_NAMED))
        near = f"{guess}:{name or 'NAME'}" if guess in _NAMED else guess
    return f"did you mean `{near}`? " if near else ""


def check_limit_key(words: tuple[str, ...]) -> tuple[str, ...]:
    if len(words) > MAX_PARTS:
        raise fail("PXD-033", f"the key has {len(words)} parts", f"allowed: {MAX_PARTS}")
    seen: dict[tuple[LimitKeyKind, str], str] = {}
    for number, word in enumerate(words):
        part = split_limit_key(word)
        if part in seen:
            other = "" if seen[part] == word else f", as `{seen[part]}`"
            raise fail("PXD-025", f"`{word}` is in the key already{other}", at=(number,))
        seen[part] = word
    return words


def identity_words(words: Iterable[str]) -> tuple[str, ...]:
    """Those that only an `auth` policy can tell."""
    return tuple(word for word in words if split_limit_key(word)[0] in ("user", "claim"))


LimitKeyWord = Annotated[
    str,
    PlainValidator(check_limit_word),
    WithJsonSchema(
        {"type": "string", "pattern": r"^(client\.ip|host|path|method|user|api_key|route|listener|jwt\..+|(header|cookie|query):.+)$|\$\{"}
    ),
]
LimitKey = Annotated[tuple[LimitKeyWord, ...], AfterValidator(check_limit_key), ONE_OR_MORE]
Ipv4Bits = Annotated[Integer, Field(ge=1, le=32)]
Ipv6Bits = Annotated[Integer, Field(ge=1, le=128)]
