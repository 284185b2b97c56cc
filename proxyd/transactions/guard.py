"""Guards: what must not happen in the time after a reload, `errors > 2% for 30s or p99 of route api >= 800ms`.

    guard     = condition *( "or" condition )
    condition = metric [ "of" ("route" | "upstream") NAME ] (">" | ">=") value [ "for" duration ]
    metric    = "errors" | "proxy_errors" | "p50" | "p95" | "p99"

`errors` is the share of requests that ended with a 5xx, whoever made it, `proxy_errors` the share that proxyd itself had to answer for want
of a server's answer, `p95` the time under which 95 % of requests stayed. The duration is how long after the reload the condition is
watched (30 s); it is reported as soon as it holds for 50 requests or more, and at the end of its time for any number.
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

REQUESTS_MIN = 50
WINDOW_S = 30.0
WINDOW_MAX_S = 3_600.0
LENGTH_MAX = 1_000       # characters

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
SHARES = {"errors": "errors", "proxy_errors": "errors that proxyd answered"}
METRICS = (*SHARES, *QUANTILES)
_TOKEN = re.compile(r"\s*(?:(>=|<=|==|!=|[<>=])|([^\s<>=!]+)|(\S))")
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3_600.0}


class Totals(Protocol):
    """Of the requests of a while: `proxyd.stats.history.Totals`."""

    @property
    def requests(self) -> int: ...

    @property
    def errors(self) -> int: ...

    @property
    def proxy_errors(self) -> int: ...

    def quantile(self, q: float) -> float | None:
        """Seconds; None when too little is known."""


class Figures(Protocol):
    """Where a guard looks: `proxyd.stats.history.History`."""

    def totals(self, since: float | None = None, *, route: str = "", upstream: str = "") -> Totals: ...


class GuardError(ValueError):
    """The text is no guard: what is wrong, where (a column from 0 and a width), and what may help."""

    def __init__(self, text: str, column: int, width: int, message: str, help: str) -> None:
        super().__init__(message)
        self.text, self.column, self.width, self.help = text, column, max(width, 1), help

    def rendered(self) -> str:
        return f"  {self.text}\n  {' ' * self.column}{'^' * self.width}\n  = help: {self.help}"


@dataclass(frozen=True, slots=True)
class Condition:
    metric: str
    above: float                 # a share (0.02) of `errors`, seconds of a percentile
    inclusive: bool              # >=
    seconds: float               # after the reload that it is watched
    route: str = ""
    upstream: str = ""

    def __str__(self) -> str:
        scope = f" of route {self.route}" if self.route else f" of upstream {self.upstream}" if self.upstream else ""
        return f"{self.metric}{scope} {'>=' if self.inclusive else '>'} {self._shown(self.above)} for {seconds_text(self.seconds)}"

    def judge(self, figures: Figures, since: float, *, at_end: bool) -> str:
        """Why the condition holds, as a sentence; "" while it does not, or too little is known."""
        totals = figures.totals(since, route=self.route, upstream=self.upstream)
        if totals.requests < (1 if at_end else REQUESTS_MIN):
            return ""
        found = self._measure(totals)
        if found is None or not (found > self.above or (self.inclusive and found == self.above)):
            return ""
        scope = f" of route {self.route}" if self.route else f" of upstream {self.upstream}" if self.upstream else ""
        if self.metric in QUANTILES:
            return f"{self.metric}{scope} {self._shown(found)} over {totals.requests} requests, the guard allows {self._shown(self.above)}"
        what = SHARES[self.metric]
        return f"{self._shown(found)} {what} among {totals.requests} requests{scope}, the guard allows {self._shown(self.above)}"

    def _measure(self, totals: Totals) -> float | None:
        if self.metric in QUANTILES:
            return totals.quantile(QUANTILES[self.metric])
        return (totals.errors if self.metric == "errors" else totals.proxy_errors) / totals.requests

    def _shown(self, value: float) -> str:
        return seconds_text(value) if self.metric in QUANTILES else f"{value * 100:.3g}%"


@dataclass(frozen=True, slots=True)
class Guard:
    conditions: tuple[Condition, ...]

    def __str__(self) -> str:
        return " or ".join(map(str, self.conditions))

    @property
    def seconds(self) -> float:
        """How long after the reload it watches."""
        return max(condition.seconds for condition in self.conditions)

    def names(self) -> Iterator[tuple[str, str]]:
        """The routes and upstreams that it speaks of: ("route", "api")."""
        for condition in self.conditions:
            if condition.route or condition.upstream:
                yield ("route", condition.route) if condition.route else ("upstream", condition.upstream)


def parse_guard(text: str) -> Guard:
    """GuardError."""
    if len(text) > LENGTH_MAX:
        raise GuardError(f"{text[:20]}...", 0, 20, f"the guard is longer than {LENGTH_MAX} characters", "join a few conditions with `or`")
    return Guard(tuple(_Parser(text).conditions()))


def parse_duration(text: str) -> float | None:
    """Seconds, from `500ms`, `30s`, `1m30s`; None: it is not a duration."""
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def seconds_text(seconds: float) -> str:
    """`300ms`, `30s`, `1m30s`, `24h`."""
    if seconds < 1:
        return f"{seconds * 1000:.3g}ms"
    if seconds < 60:
        return f"{seconds:.3g}s"
    minutes, rest = divmod(round(seconds), 60)
    if not rest and not minutes % 60:
        return f"{minutes // 60}h"
    return f"{minutes}m" + (f"{rest}s" if rest else "")


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    column: int


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._words = [_Word(found[found.lastindex or 0], found.start(found.lastindex or 0)) for found in _TOKEN.finditer(text)]
        self._at = 0

    def conditions(self) -> Iterator[Condition]:
        yield self._condition()
        while self._at < len(self._words):
            word = self._next("`or`", "conditions are joined with `or`: errors > 2% or p99 > 1s")
            if word.text != "or":
                raise self._unexpected(word, "`for` or `or`", "write `errors > 2% for 30s or p99 > 1s`")
            yield self._condition()

    def _condition(self) -> Condition:
        metric = self._next("a metric", f"there is {', '.join(METRICS)}: `errors > 2% for 30s`")
        if metric.text not in METRICS:
            raise self._unexpected(metric, "a metric", f"there is {', '.join(METRICS)}")
        scope = self._scope()
        inclusive = self._operator()
        above = self._value(metric.text)
        seconds = self._window()
        return Condition(metric.text, above, inclusive, seconds, scope.get("route", ""), scope.get("upstream", ""))

    def _scope(self) -> dict[str, str]:
        if not self._taken("of"):
            return {}
        help = "write `errors of route api > 2%`, or `of upstream app`"
        kind = self._next("`route` or `upstream`", help)
        if kind.text not in {"route", "upstream"}:
            raise self._unexpected(kind, "`route` or `upstream`", help)
        return {kind.text: self._next(f"the name of the {kind.text}", help).text}

    def _operator(self) -> bool:
        help = "a guard says when to go back: write `errors > 2%`"
        word = self._next("`>` or `>=`", help)
        if word.text not in {">", ">="}:
            raise self._unexpected(word, "`>` or `>=`", help)
        return word.text == ">="

    def _value(self, metric: str) -> float:
        if metric in QUANTILES:
            help = f"a time has its unit: write `{metric} > 300ms`"
            word = self._next("a duration", help)
            seconds = parse_duration(word.text)
            if seconds is None:
                raise self._unexpected(word, "a duration", help)
            return seconds
        word = self._next("a percentage", "write `2%`")
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(%?)", word.text)
        if found is None or not found[2]:
            raise self._unexpected(word, "a percentage", f"write `{word.text}%`" if found else "write `2%`")
        if float(found[1]) > 100:
            raise GuardError(self._text, word.column, len(word.text), f"no more than 100% can fail, not {word.text}", "write `2%`")
        return float(found[1]) / 100

    def _window(self) -> float:
        if not self._taken("for"):
            return WINDOW_S
        help = "how long after the reload it is watched: `for 30s`"
        word = self._next("a duration", help)
        seconds = parse_duration(word.text)
        if seconds is None:
            raise self._unexpected(word, "a duration", f"write `{word.text}s` or `{word.text}m`" if word.text.isdigit() else help)
        if not 1 <= seconds <= WINDOW_MAX_S:
            raise GuardError(self._text, word.column, len(word.text), f"a guard watches for 1s to 1h, not for {word.text}", help)
        return seconds

    def _taken(self, word: str) -> bool:
        if self._at < len(self._words) and self._words[self._at].text == word:
            self._at += 1
            return True
        return False

    def _next(self, wanted: str, help: str) -> _Word:
        if self._at == len(self._words):
            raise GuardError(self._text, len(self._text.rstrip()), 1, f"expected {wanted}, but the guard ends", help)
        self._at += 1
        return self._words[self._at - 1]

    def _unexpected(self, word: _Word, wanted: str, help: str) -> GuardError:
        return GuardError(self._text, word.column, len(word.text), f"expected {wanted}, got `{word.text}`", help)
