"""Which stored answers get compressed forms. Pure.

The rules are RFC 9110 §8.4 (Content-Encoding), RFC 9111 §5.2.2.6 (no-transform) and common sense about what is worth the work.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, Protocol, get_args

from proxyd_ext.snapshot.spec import CompressSpec

Encoding = Literal["gzip", "br", "zstd"]
# Why a stored answer gets no compressed form at all.
Refusal = Literal["status", "encoded", "type", "too_small", "too_large", "short_lived", "no_transform", "range", "digest", "vary"]
REFUSALS: tuple[Refusal, ...] = get_args(Refusal)

# Every client that takes any of them takes gzip, nearly every browser br, the newer ones zstd: what serves most is made first, so that it
# is there when the work is cut short. Which one a client gets is another question, answered by the order in the config.
ORDER: tuple[Encoding, ...] = ("gzip", "br", "zstd")

# Seconds for which an answer must still be servable. One that is gone when its compressed form is ready costs CPU and gains nothing.
LIFE_MIN_S = 2.0

# Digests of the content or the representation count its coding in (RFC 9530 §2, §3): on a compressed form they would be wrong.
_DIGESTS = frozenset({b"content-digest", b"repr-digest", b"digest", b"content-md5"})
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"')


class Stored(Protocol):
    """What is asked of an answer; `proxyd_ext.cache.store.CachedObject` is one. Times are seconds, `size` is bytes of the body."""

    @property
    def key(self) -> bytes: ...
    @property
    def url(self) -> str: ...
    @property
    def route(self) -> str: ...
    @property
    def state(self) -> Literal["complete", "filling", "marker"]: ...
    @property
    def status(self) -> int: ...
    @property
    def encoding(self) -> str: ...
    @property
    def vary(self) -> str: ...
    @property
    def variant(self) -> bytes: ...
    @property
    def head(self) -> bytes: ...
    @property
    def body(self) -> bytes: ...
    @property
    def size(self) -> int: ...
    @property
    def fresh_s(self) -> float: ...
    @property
    def stale_while_revalidate_s(self) -> float: ...
    @property
    def compress(self) -> bool: ...


def eligible(stored: Stored, spec: CompressSpec, size_max: int) -> tuple[Encoding, ...] | Refusal:
    """The encodings to make of a stored answer, in the order of making; or why there is none.

    The cheap questions come first: most answers that are not text end at one of them, and the head is not copied before.
    """
    if stored.status != 200 or stored.state != "complete":
        return "status"
    if stored.encoding:
        return "encoded"
    if stored.size < spec.min_size:
        return "too_small"
    if stored.size > size_max:
        return "too_large"
    if stored.fresh_s + max(0.0, stored.stale_while_revalidate_s) < LIFE_MIN_S:
        return "short_lived"
    return refusal_of_head(stored.head, spec.types) or _wanted(stored, spec) or "vary"


def refusal_of_head(head: bytes, types: Sequence[str]) -> Refusal | None:
    """`head`: field lines, each with CRLF. None: nothing in it forbids a compressed form, and its media type is one of `types`."""
    fields: dict[bytes, list[bytes]] = {}
    for line in head.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon:
            fields.setdefault(name.lower(), []).append(value.strip(b" \t"))
    media = fields.get(b"content-type", [])
    # Two Content-Types contradict one another: no guess is made.
    if len(media) != 1 or not type_matches(media[0].partition(b";")[0].strip(b" \t").decode("latin-1").lower(), types):
        return "type"
    if any(token not in (b"", b"identity") for token in _tokens(fields, b"content-encoding")):
        return "encoded"
    if b"no-transform" in _tokens(fields, b"cache-control"):
        return "no_transform"
    if b"content-range" in fields:
        return "range"
    if not _DIGESTS.isdisjoint(fields):
        return "digest"
    return None


def type_matches(media: str, types: Sequence[str]) -> bool:
    """`media`: type/subtype in lower case. `types`: the same, or `text/*`, or `*/*`."""
    kind, slash, _ = media.partition("/")
    return bool(slash) and any(each in (media, f"{kind}/*", "*/*") for each in map(str.lower, types))


def _wanted(stored: Stored, spec: CompressSpec) -> tuple[Encoding, ...]:
    """The spec's encodings, but of an answer that varies by Accept-Encoding only those that its own requests can accept.

    The variant's text is searched, not parsed: a name found by chance costs a form that nobody asks for, nothing else.
    """
    encodings = tuple(each for each in ORDER if each in spec.encodings)
    if "accept-encoding" not in stored.vary.lower().split(","):
        return encodings
    accepted = stored.variant.lower()
    return tuple(each for each in encodings if each.encode() in accepted or b"*" in accepted)


def _tokens(fields: dict[bytes, list[bytes]], name: bytes) -> list[bytes]:
    """Names in a comma-separated field, lower case, without their values. What stands in quotes is no name (`private="no-transform"`)."""
    text = _QUOTED.sub(b"", b",".join(fields.get(name, [])))
    return [item.partition(b"=")[0].strip(b" \t").lower() for item in text.split(b",")]
