"""A record as a line for people, from the object that the tap gave: the same line that the native `pretty` format writes (log/render.pyx).

    02:10:33 GET  502  1.0s  shop.example.com/api/v1/pay   api→10.0.1.13:8000  connection refused, 2 tries   id 7f3a91
"""
from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from proxyd.plain import plain

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"
_COLORS = {2: "\x1b[32m", 3: "\x1b[36m", 4: "\x1b[33m", 5: "\x1b[31m"}


def line(record: Mapping[str, Any], *, color: bool = False) -> str:
    body = _flow(record, color=color) if "kind" in record else _exchange(record, color=color)
    return f"{_painted(_clock(record), _DIM, color=color)} {body}   id {shown(record.get('id', '-'))}"


def _exchange(record: Mapping[str, Any], *, color: bool) -> str:
    status = record.get("status", 0)
    code = _painted(f"{status:03}", _COLORS.get(status // 100, _COLORS[2]), color=color)
    query = f"?{shown(record['query'])}" if "query" in record else ""
    target = f"{shown(record.get('host', ''))}{shown(record.get('path', ''))}{query}"
    parts = [*_server(record), *_cache(record), *([shown(record["why"])] if "why" in record else [])]
    tries = f"{', ' if 'why' in record else '  '}{record['attempts']} tries" if record.get("attempts", 0) > 1 else ""
    outcome = f"   {'  '.join(parts)}" if parts else ""
    return f"{shown(record.get('method', '-')):<4} {code} {duration(record.get('t_total', 0.0))}  {target}{outcome}{tries}"


def _flow(record: Mapping[str, Any], *, color: bool) -> str:
    failed = "error" in record
    word = _painted("err" if failed else "ok ", _COLORS[5 if failed else 2], color=color)
    hello = shown(record.get("tls.server_name", ""))
    if "tls.alpn" in record:
        hello += f"{' ' if hello else ''}({shown(record['tls.alpn'])})"
    amounts = ", ".join(_amount(record, way) for way in ("in", "out"))
    parts = [f"{shown(record.get('listener', ''))}{f'  {hello}' if hello else ''}  {amounts}", *_server(record)]
    why = f": {shown(record['why'])}" if "why" in record else ""
    tries = f", {record['attempts']} tries" if record.get("attempts", 0) > 1 else ""
    took = duration(record.get("t_total", 0.0))
    return f"{str(record['kind']).upper()} {word} {took}  {'   '.join(parts)}   end {record.get('end', '')}{why}{tries}"


def _server(record: Mapping[str, Any]) -> list[str]:
    if "upstream" not in record:
        return []
    return [shown(record["upstream"]) + (f"→{shown(record['server'])}" if "server" in record else "")]


def _cache(record: Mapping[str, Any]) -> list[str]:
    age = f", {record['cache_age']}s old" if "cache_age" in record else ""
    if "cache" in record:
        return [f"cache {record['cache']}{age}"]
    return [f"from cache{age}"] if record.get("status_by") == "cache" else []


def _amount(record: Mapping[str, Any], way: str) -> str:
    packets = f"/{record[f'packets_{way}']}" if f"packets_{way}" in record else ""
    return f"{way} {size(record.get(f'bytes_{way}', 0))}{packets}"


def _clock(record: Mapping[str, Any]) -> str:
    try:
        at = datetime.strptime(str(record.get("time", "")), "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        return "--:--:--"
    return at.astimezone().strftime("%H:%M:%S")


def _painted(text: str, code: str, *, color: bool) -> str:
    return f"{code}{text}{_PLAIN}" if color else text


def shown(text: object) -> str:
    """What clients sent must not steer the terminal."""
    return plain(str(text))


def duration(seconds: float) -> str:
    """In five columns, as exact as they allow: `850us`, `4.2ms`, ` 42ms`, ` 1.0s`, `12.3s`, ` 123s`, ` 2.8h`."""
    us = round(seconds * 1e6)
    if us < 1_000:
        text = f"{us}us"
    elif us < 999_500:
        text = f"{_tenths(us, 1_000, 100)}ms"
    elif us < 9_999_500_000:
        text = f"{_tenths(us, 1_000_000, 1_000)}s"
    else:
        text = f"{_tenths(us, 3_600_000_000, 1_000)}h"
    return f"{text:>5}"


def _tenths(value: int, unit: int, most: int) -> str:
    """`value` in units, rounded half up: with one decimal below `most` tenths."""
    tenths = (value * 10 + unit // 2) // unit
    return f"{tenths // 10}.{tenths % 10}" if tenths < most else str((value * 2 + unit) // (2 * unit))


def size(count: int) -> str:
    """`812 B`, `1.2 KiB`, `34.0 MiB`, `123 GiB`."""
    if count < 1_000:
        return f"{count} B"
    unit, letters = 1024, iter("KMGTP")
    letter = next(letters)
    while letter != "P" and count // unit >= 1_000:
        unit, letter = unit * 1024, next(letters)
    return f"{_tenths(count, unit, 1_000)} {letter}iB"
