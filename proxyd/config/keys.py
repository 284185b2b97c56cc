"""The small language that names a part of a request: `client.ip`, `host`, `path`, `uri`, `header:x`, `cookie:x`, `query:x`; or of the
connection: `flow`, the addresses and ports of both sides, which network load balancers hash.

`client.net` is what nginx's ip_hash looks at: the first three octets of an IPv4 address, all of an IPv6 one.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from proxyd.config.text import as_text
from proxyd.diagnostics.fail import fail, shown
from proxyd.diagnostics.suggest import closest

KeyKind = Literal["client.ip", "client.net", "flow", "host", "path", "uri", "header", "cookie", "query"]
PLAIN_KEYS: tuple[KeyKind, ...] = ("client.ip", "client.net", "flow", "host", "path", "uri")
FLOW_KEYS = ("client.ip", "client.net", "flow")  # those that a connection has without a request in it
NAMED_KEYS: tuple[KeyKind, ...] = ("header", "cookie", "query")
LATER_KEYS = ("method", "jwt.sub", "client.cert.san")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")  # RFC 9110 §5.6.2
_FORMS = "`client.ip`, `client.net`, `flow`, `host`, `path`, `uri`, `header:NAME`, `cookie:NAME` or `query:NAME`"


def split_key(key: str) -> tuple[KeyKind, str]:
    """A valid key's kind, and the name of the field, cookie or query parameter (lower case for a field) where it has one."""
    kind, _, name = key.partition(":")
    for plain in PLAIN_KEYS:
        if key == plain:
            return plain, ""
    for named in NAMED_KEYS:
        if kind == named:
            return named, name.lower() if named == "header" else name
    raise ValueError(key)


def check_key(key: str) -> str:
    kind, colon, name = key.partition(":")
    if key in PLAIN_KEYS:
        return key
    if kind in NAMED_KEYS and colon:
        if "," in name:
            raise fail("PXD-034", f"{shown(key)} names several: one is taken in this version", f"write `{kind}:{name.split(',')[0]}`")
        if not _TOKEN.match(name):
            raise fail("PXD-034", f"{shown(name)} cannot be the name in the key `{kind}:…`", f"write {_FORMS}")
        return key
    if key in LATER_KEYS:
        raise fail("PXD-034", f"the key `{key}` is not in this version yet", f"write {_FORMS}")
    if _NGINX.match(key):
        raise fail("PXD-034", f"{shown(key)} is a variable of nginx", f"did you mean `{_from_nginx(key)}`? write {_FORMS}")
    near = closest(kind, (*PLAIN_KEYS, *NAMED_KEYS))
    hint = f"did you mean `{near}{':' + (name or 'NAME') if near in NAMED_KEYS else ''}`? " if near else ""
    raise fail("PXD-034", f"{shown(key)} is not a key", f"{hint}write {_FORMS}")


_NGINX = re.compile(r"\$(binary_remote_addr|remote_addr|host|uri|request_uri|(http|cookie|arg)_\w+)\Z")
_VARIABLES = {"binary_remote_addr": "client.ip", "remote_addr": "client.ip", "host": "host", "uri": "path", "request_uri": "uri"}


def _from_nginx(key: str) -> str:
    """`$cookie_session` is `cookie:session` here."""
    kind, _, name = key[1:].partition("_")
    if kind == "http":
        return f"header:{name.replace('_', '-')}"
    return _VARIABLES.get(key[1:]) or f"{'query' if kind == 'arg' else kind}:{name}"


Key = Annotated[
    str,
    BeforeValidator(as_text),
    AfterValidator(check_key),
    WithJsonSchema({"type": "string", "pattern": r"^(client\.(ip|net)|flow|host|path|uri|(header|cookie|query):.+)$"}),
]
