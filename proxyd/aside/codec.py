"""How values become bytes and back. `decode` raises ValueError for bytes it cannot read: then the value counts as not there."""
from __future__ import annotations

import json
from typing import Any, Protocol, TypeVar

V = TypeVar("V")


class Codec(Protocol[V]):
    def encode(self, value: V, /) -> bytes: ...

    def decode(self, raw: bytes, /) -> V: ...


class BytesCodec:
    def encode(self, value: bytes, /) -> bytes:
        return value

    def decode(self, raw: bytes, /) -> bytes:
        return raw


class TextCodec:
    """UTF-8."""

    def encode(self, value: str, /) -> bytes:
        return value.encode()

    def decode(self, raw: bytes, /) -> str:
        return raw.decode()


class JsonCodec:
    """What `json` can write: no checks on what comes back."""

    def encode(self, value: Any, /) -> bytes:
        return json.dumps(value, separators=(",", ":")).encode()

    def decode(self, raw: bytes, /) -> Any:
        return json.loads(raw)
