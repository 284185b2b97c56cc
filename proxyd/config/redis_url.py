"""Where a Redis server is: `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`, `rediss://…` with TLS, `unix:/PATH[?db=DB]`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from proxyd.config.address import Address
from proxyd.config.text import as_text
from proxyd.diagnostics.fail import fail
from proxyd.diagnostics.nodes import SecretText

PORT = 6379
MAX_DB = 65_535
HIDDEN = "***"
_FORMS = "write `redis://127.0.0.1:6379/0`, `rediss://…` for TLS, or `unix:/run/redis.sock`"
_URL = re.compile(r"(?P<scheme>rediss?)://((?P<user>[^:@/?#]*)(:(?P<password>[^@/?#]*))?@)?(?P<place>[^/?#@]+)(/(?P<db>[0-9]{0,5}))?\Z")
_UNIX = re.compile(r"unix:(//((?P<user>[^:@/]*)(:(?P<password>[^@/]*))?@)?)?(?P<path>/[^/?#@][^?#@]*)(\?db=(?P<db>[0-9]{1,5}))?\Z")


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A server and how to log in there. It prints without the password; as a whole when it came from outside of the file."""

    address: Address
    db: int = 0
    user: str = ""
    password: str = ""
    tls: bool = False
    secret: bool = field(default=False, compare=False)

    @property
    def url(self) -> str:
        """All of it, as client libraries take it. Not for people."""
        return self._text(quote(self.password, safe=""))

    def _text(self, password: str) -> str:
        login = f"{quote(self.user, safe='')}:{password}@" if password else f"{quote(self.user, safe='')}@" if self.user else ""
        if self.address.is_unix:
            return f"unix://{login}{self.address.path}?db={self.db}"
        return f"{'rediss' if self.tls else 'redis'}://{login}{self.address}/{self.db}"

    def __str__(self) -> str:
        return HIDDEN if self.secret else self._text(HIDDEN if self.password else "")

    def __repr__(self) -> str:
        return f"RedisUrl({str(self)!r})"

    @classmethod
    def parse(cls, value: object) -> RedisUrl:
        """Messages never hold the text: a password may be in it."""
        if isinstance(value, cls):
            return value
        text = as_text(value).strip()
        found = _URL.match(text) or _UNIX.match(text)
        if found is None:
            behind = "; nothing can stand behind the number of the database" if re.match(r"rediss?://[^?#]*[?#]", text) else ""
            raise fail("PXD-035", "the text is not the URL of a Redis", _FORMS + behind)
        parts = found.groupdict()
        db = int(parts["db"] or 0)
        if db > MAX_DB:
            raise fail("PXD-033", f"{db} is not the number of a database", f"allowed: 0 to {MAX_DB}")
        return cls(
            address=_address(parts),
            db=db,
            user=unquote(parts["user"] or ""),
            password=unquote(parts["password"] or ""),
            tls=parts.get("scheme") == "rediss",
            secret=isinstance(value, SecretText),
        )

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(cls.parse, serialization=core_schema.to_string_ser_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "pattern": r"^(rediss?://|unix:)|\$\{"}


def _address(parts: dict[str, str | None]) -> Address:
    if parts.get("path"):
        return Address.parse(f"unix:{parts['path']}")
    place = parts["place"] or ""
    return Address.parse(place if re.search(r":[0-9]*\Z", place) else f"{place}:{PORT}")
