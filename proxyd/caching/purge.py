"""Purges: how they are asked for, by JSON and by the method PURGE, and how they are carried out.

A purge names one of: a URL, a prefix of URLs, a tag, a host, or everything. It removes (hard), or marks as stale (soft: what is stored
may still be served where stale answers may be, while it is fetched again). Where the scheme of a URL is left out, both are meant.
"""
from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args
from urllib.parse import urlsplit

from proxyd_ext.http1.path import normalize

if TYPE_CHECKING:
    from proxyd_ext.cache.store import Cache

PurgeKind = Literal["url", "prefix", "tag", "host", "all"]
KINDS: tuple[PurgeKind, ...] = get_args(PurgeKind)
DEFAULT_PORTS = {"http": 80, "https": 443}
TEXTS_MAX = 1_000      # tags or URLs in one order
TAG_FIELDS = ("surrogate-key", "cache-tag")
SOFT_FIELDS = ("soft-purge", "fastly-soft-purge")
WORDS_MAX = 5          # purges of one order that are named
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[^\s/?#@:\[\]]+)(:\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Purge:
    """One thing to purge, in normal form."""

    kind: PurgeKind
    text: str = ""
    soft: bool = False

    def __str__(self) -> str:
        return ("soft " if self.soft else "") + (f"{self.kind} {self.text}" if self.kind != "all" else "everything")


@dataclass(frozen=True, slots=True)
class Purged:
    """What became of an order. `spread`: other nodes and the shared tier have been told; None where there is no such tier."""

    objects: int
    orders: tuple[Purge, ...]
    seconds: float
    spread: bool | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A PURGE request, and what became of it."""

    client: str                    # who sent it: the peer, or whom a trusted peer names
    peer: str                      # where the connection came from
    words: str                     # what was purged, without queries
    kinds: tuple[PurgeKind, ...]   # of its purges; none: it was not understood
    objects: int | None = None     # purged here; None: it was refused, or failed


class Spreader(Protocol):
    """Purges memory, the shared tier and the other nodes, in an order in which nothing purged comes back: `proxyd.cachetier.Sharing`."""

    async def purge(self, kind: PurgeKind, text: str, soft: bool) -> tuple[int, bool | None]:
        """Objects purged here, and whether the others were told; None where there is nobody to tell."""


# ---------------------------------------------------------------------- reading orders
def parse_order(order: Mapping[str, Any]) -> tuple[Purge, ...]:
    """`{"url" | "prefix" | "tag" | "host": TEXT or [TEXT, ...]}` or `{"all": true}`, with `"soft": true` if so. Raises ValueError."""
    named: list[PurgeKind] = [kind for kind in KINDS if kind in order]
    unknown = sorted(order.keys() - {*KINDS, "soft"})
    if unknown:
        raise ValueError(f"`{unknown[0]}` is not known; give one of {', '.join(KINDS)}, and soft")
    if len(named) != 1:
        raise ValueError(f"give one of {', '.join(KINDS)}" + (f", not {' and '.join(named)}" if named else ""))
    soft, kind = order.get("soft", False), named[0]
    if not isinstance(soft, bool):
        raise ValueError("`soft` is true or false")
    if kind == "all":
        if order["all"] is not True:
            raise ValueError("`all` is true")
        return (Purge("all", "", soft),)
    texts = order[kind] if isinstance(order[kind], list) else [order[kind]]
    if not texts or not all(isinstance(text, str) for text in texts):
        raise ValueError(f"`{kind}` is a text or a list of texts")
    return build_orders(kind, texts, soft=soft)


def build_orders(kind: PurgeKind, texts: Sequence[str], *, soft: bool = False) -> tuple[Purge, ...]:
    """Orders in normal form, each once. Raises ValueError."""
    if len(texts) > TEXTS_MAX:
        raise ValueError(f"one order purges up to {TEXTS_MAX} texts, not {len(texts)}")
    return tuple(dict.fromkeys(Purge(kind, text, soft) for given in texts for text in _normal(kind, given)))


def _normal(kind: PurgeKind, text: str) -> Iterator[str]:
    if not text or any(ord(char) <= 0x20 or ord(char) == 0x7F or 0xD800 <= ord(char) < 0xE000 for char in text):
        what = "URL" if kind in ("url", "prefix") else kind
        raise ValueError(f"`{text.encode(errors='replace').decode()}` is not a {what}: it is empty or holds blanks or controls")
    if kind == "tag":
        yield text
    elif kind == "host":
        yield host_of(text)
    else:
        yield from urls_of(text)


def host_of(text: str) -> str:
    """`Example.COM:8080` → `example.com:8080`. Raises ValueError."""
    found = text.lower()
    if not HOST.fullmatch(found):
        raise ValueError(f"`{text}` is not a host; write example.com or example.com:8080")
    return found


def urls_of(text: str) -> Iterator[str]:
    """Normal forms as the cache has them: scheme://host[:port]/path[?query]; both schemes where none is given. Raises ValueError."""
    scheme, colon, _ = text.partition("://")
    if colon and scheme.lower() not in DEFAULT_PORTS:
        raise ValueError(f"`{text}` is not an http URL")
    parts = urlsplit(text if colon else f"//{text}")
    if not parts.netloc:
        raise ValueError(f"`{text}` has no host; write [http://]HOST/PATH")
    raw, mark, query = text.partition("//")[2].partition("#")[0].partition("?") if colon else text.partition("#")[0].partition("?")
    path = normalize(raw[len(parts.netloc):].encode() or b"/")
    if isinstance(path, int):
        raise ValueError(f"the path of `{text}` is not well-formed")
    host = host_of(parts.netloc)
    for each in (scheme.lower(),) if colon else DEFAULT_PORTS:
        yield f"{each}://{host.removesuffix(f':{DEFAULT_PORTS[each]}')}{path.decode()}{mark}{query}"


def words_of(orders: Sequence[Purge]) -> str:
    """For the audit trail, which keeps no queries: tokens stand there."""
    shown = ", ".join(str(replace(order, text=order.text.partition("?")[0])) for order in orders[:WORDS_MAX])
    return f"{shown} and {len(orders) - WORDS_MAX} more" if len(orders) > WORDS_MAX else shown


def maybe_asked(payload: bytes, orders: Sequence[Purge]) -> Asked | None:
    """Who sent a PURGE request, and for what (no orders: it is not understood); None: an application deletes a value of its own."""
    method, who, url, *_ = [*payload.decode("utf-8", "replace").split("\n", 3), "", ""]
    if method != "PURGE":
        return None
    client, _, peer = who.partition(" ")
    return Asked(client, peer, words_of(orders) or url.partition("?")[0], tuple(order.kind for order in orders))


def parse_request(payload: bytes) -> tuple[Purge, ...]:
    """A PURGE request as an engine tells it: lines METHOD, CLIENT PEER, URL, then fields as `Name: value`. Raises ValueError.

    `Surrogate-Key` (blanks between tags) or `Cache-Tag` (commas) name tags, and then the URL counts for nothing; a path that ends in `*` is
    a prefix; `Soft-Purge: 1` is soft.
    """
    if payload.startswith(b"DELETE\n"):   # of a value of the cache for applications: aside:KEY
        return (Purge("url", payload[7:].decode("utf-8", "replace")),)
    lines = payload.decode("utf-8", "replace").split("\n")
    if len(lines) < 3 or not lines[2]:
        raise ValueError("the request has no URL")
    fields: dict[str, list[str]] = {}
    for line in lines[3:]:
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), []).append(value.strip())
    soft = any(value not in ("", "0", "false") for name in SOFT_FIELDS for value in fields.get(name, ()))
    tags = [tag for name in TAG_FIELDS for value in fields.get(name, ()) for tag in re.split(r"[\s,]+", value) if tag]
    if tags:
        return build_orders("tag", tags, soft=soft)
    url = lines[2] if not lines[2].startswith("/") else "".join(fields.get("host", [])) + lines[2]
    return build_orders("prefix", [url[:-1]], soft=soft) if url.endswith("*") else build_orders("url", [url], soft=soft)


# ---------------------------------------------------------------------- carrying them out
async def carry_out(store: Cache | None, orders: Sequence[Purge], sharing: Spreader | None) -> tuple[int, bool | None]:
    """Objects purged here, and whether the other nodes were told (None: there is nobody to tell)."""
    if sharing is not None:
        answers = await asyncio.gather(*(sharing.purge(order.kind, order.text, order.soft) for order in orders))
        told = [told for _, told in answers if told is not None]
        return sum(objects for objects, _ in answers), all(told) if told else None
    return (0 if store is None else await asyncio.to_thread(_purge, store, orders)), None


def _purge(store: Cache, orders: Sequence[Purge]) -> int:
    return sum(store.purge(order.kind, order.text, soft=order.soft) for order in orders)


def as_body(purged: Purged) -> bytes:
    """The answer to a PURGE."""
    spread = {} if purged.spread is None else {"spread": purged.spread}
    return json.dumps({"purged": purged.objects, **spread}).encode() + b"\n"
