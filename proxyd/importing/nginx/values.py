"""nginx's times, sizes, rates and texts with variables."""

from __future__ import annotations

import re
from collections.abc import Mapping

from proxyd.config.units import Duration, Lifetime, Size

_TIMES_MS = {"ms": 1, "": 1_000, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000, "M": 30 * 86_400_000,
             "y": 365 * 86_400_000}
_SIZES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30}
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def parse_time_ms(text: str) -> int | None:
    """`90`, `1m30s`, `1h 30m`; None for what is no time."""
    parts = re.findall(r"([0-9]+)(ms|[smhdwMy]?)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.replace(" ", ""):
        return None
    return sum(int(number) * _TIMES_MS[unit] for number, unit in parts)


def parse_size(text: str) -> int | None:
    found = re.match(r"([0-9]+)([kmgKMG]?)\Z", text)
    return int(found[1]) * _SIZES[found[2].lower()] if found else None


def duration(text: str, least: str, most: str) -> str | None:
    """As proxyd writes it, within the bounds of the option that it is for."""
    time_ms = parse_time_ms(text)
    return None if time_ms is None else str(Duration(max(Duration(least), min(Duration(most), time_ms))))


def lifetime(text: str) -> str | None:
    time_ms = parse_time_ms(text)
    return None if time_ms is None or time_ms < 1_000 else str(Lifetime(min(time_ms // 1_000, 3_650 * 86_400)))


def size(count: int) -> str:
    return str(Size(count))


def variables(text: str) -> list[str]:
    return [braced or bare for braced, bare in _VARIABLE.findall(text)]


def fill_in(text: str, values: Mapping[str, str]) -> str:
    """With those variables replaced that are known; the others stay."""
    return _VARIABLE.sub(lambda found: values.get(found[1] or found[2], found[0]), text)


def words_of(text: str, words: Mapping[str, str], named: Mapping[str, str]) -> list[str] | None:
    """A text made of variables alone as words of proxyd's for parts of a request; None where one has no word.

    `words` are whole variables (`host`), `named` those with a name behind an underscore (`http_` → `header`). What stands between
    variables tells values apart only, and is dropped. An empty word is a variable without which the whole means the same.
    """
    found: list[str] = []
    for name in variables(text):
        word = words.get(name)
        for prefix, kind in named.items() if word is None else ():
            if name.startswith(prefix) and len(name) > len(prefix):
                rest = name.removeprefix(prefix)
                word = f"{kind}:{header_name(rest) if kind == 'header' else rest}"
        if word is None:
            return None
        found += [one for one in word.split(",") if one]
    return list(dict.fromkeys(found)) or None


def header_name(variable: str) -> str:
    """`x_real_ip` → `X-Real-Ip`."""
    return "-".join(part.capitalize() for part in variable.split("_"))


def unescaped(text: str) -> str:
    """What nginx makes of backslashes in a word (ngx_conf_read_token); in expressions they are the expression's."""
    return re.sub(r"\\([\"'\\ntr])", lambda found: {"n": "\n", "t": "\t", "r": "\r"}.get(found[1], found[1]), text)
