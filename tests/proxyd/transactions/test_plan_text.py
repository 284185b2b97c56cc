"""A plan in one line."""
from __future__ import annotations

import pytest

from proxyd.config import load_text
from proxyd.config.model import Config
from proxyd.snapshot.plan import plan
from proxyd.transactions.plan_text import Drains, caches_text, plan_text

BASE = "listen: :8080\nupstreams: {a: {servers: [127.0.0.1:1, 127.0.0.1:2]}, b: {servers: [127.0.0.1:3]}}\n"
ROUTES = "routes: [{name: x, match: /x/*, to: a}, {name: y, match: /y/*, to: b}, {name: z, to: a}]\n"


def config(text: str) -> Config:
    result = load_text(text)
    assert result.config is not None, result.diagnostics
    return result.config


@pytest.mark.parametrize(("text", "drains", "sentence"), [
    (BASE + ROUTES.replace("/x/*", "/xx/*").replace("/y/*", "/yy/*"), Drains(), "2 routes changed, no connection will drain"),
    (BASE.replace(", b: {servers: [127.0.0.1:3]}", "") + ROUTES.replace("to: b", "to: a"), Drains(37),
     "1 route changed, 1 upstream removed, 37 connections will drain"),
    (BASE.replace(", 127.0.0.1:2", ", 127.0.0.1:4, 127.0.0.1:5") + ROUTES, Drains(1, 2),
     "2 servers added, 1 server removed, 1 connection will drain, 2 flows will drain"),
    (BASE.replace(":8080", ":8081") + ROUTES, Drains(0, 1), "1 listener added, 1 listener removed, 1 flow will drain"),
    (BASE + ROUTES + "log: {level: debug}\nruntime: {threads: 1}\n", Drains(), "runtime changed, log changed, no connection will drain"),
    (BASE + ROUTES + "policies: {unused: {rate_limit: {rate: 1/s, burst: 1}}}\n", Drains(),
     "nothing that requests meet changes, no connection will drain"),
])
def test_sentences(text: str, drains: Drains, sentence: str) -> None:
    assert plan_text(plan(config(BASE + ROUTES), config(text)), drains) == sentence


@pytest.mark.parametrize(("before", "after", "sentence"), [
    ("", "", ""),
    ("", "cache: 1m", ""),
    ("cache: 1m", "cache: 2m", "caches kept"),
    ("cache: 1m", "", "the cache is given up"),
    ("cache: 1m\ncache: {memory: 1GiB}", "cache: 1m\ncache: {memory: 64MiB}", "the cache shrinks to 64MiB"),
    ("cache: 1m\ncache: {memory: 64MiB}", "cache: 1m\ncache: {memory: 1GiB}", "caches kept"),
])
def test_what_becomes_of_caches(before: str, after: str, sentence: str) -> None:
    def with_cache(text: str) -> Config:
        route, _, rest = text.partition("\n")
        return config(f"{BASE}routes: [{{to: a{', ' + route if route else ''}}}]\n{rest}\n")

    assert caches_text(with_cache(before), with_cache(after)) == sentence
