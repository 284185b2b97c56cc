"""Compression of stored answers, as a policy: the compressed form is made once, off the path of requests, and stored beside the other."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema

from proxyd.config.base import ON, ONE_OR_MORE, STRING, Model, Short
from proxyd.config.text import as_text
from proxyd.config.units import Size, Within
from proxyd.diagnostics.fail import fail, shown

_TOKEN = r"[a-z0-9!#$&^_.+-]{1,127}"  # RFC 6838 §4.2
_MEDIA_TYPE = re.compile(rf"{_TOKEN}/({_TOKEN}|\*)\Z")
TYPES = (
    "text/*",
    "application/json",
    "application/javascript",
    "application/xml",
    "application/xhtml+xml",
    "application/rss+xml",
    "application/atom+xml",
    "application/ld+json",
    "application/manifest+json",
    "application/wasm",
    "image/svg+xml",
    "font/ttf",
    "font/otf",
)


def check_media_type(value: object) -> str:
    text = as_text(value).strip().lower()
    if not _MEDIA_TYPE.match(text):
        raise fail("PXD-038", f"{shown(text)} is not a media type", "like `text/html`, or `text/*` for all of them; without parameters")
    return text


def check_once(values: tuple[str, ...]) -> tuple[str, ...]:
    for number, value in enumerate(values):
        if value in values[:number]:
            raise fail("PXD-025", f"`{value}` is there twice", at=(number,))
    return values


def expand_compress(value: object) -> object:
    if value == "on" or value is True:
        return {}
    return {"encodings": value} if isinstance(value, str | list) else value


Encoding = Literal["zstd", "br", "gzip"]
MediaType = Annotated[str, PlainValidator(check_media_type), WithJsonSchema(STRING)]


class Compress(Model):
    encodings: Annotated[tuple[Encoding, ...], AfterValidator(check_once), ONE_OR_MORE] = Field(
        ("zstd", "br", "gzip"), min_length=1, description="Codings that are made; the first that the client accepts is sent."
    )
    min_size: Annotated[Size, Within("1B", "1GiB")] = Field(Size("1KiB"), description="Smaller bodies are left as they are.")
    types: Annotated[tuple[MediaType, ...], AfterValidator(check_once), ONE_OR_MORE] = Field(
        TYPES, min_length=1, description="Media types of the bodies; `text/*` is every type of text."
    )


CompressField = Annotated[Compress, Short(expand_compress, (ON, STRING, {"type": "array", "items": STRING}))]
