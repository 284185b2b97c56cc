from __future__ import annotations

import pytest

from proxyd.config import load_text
from proxyd.config.canonical import canonical_text
from proxyd.config.tracing import Tracing
from tests.support.config import config_of, first_finding


def tracing(text: str) -> Tracing | None:
    return config_of(f"{{listen: ':1', to: 'a:1', {text}}}").tracing


def test_nothing_is_traced_unless_it_is_asked_for() -> None:
    assert tracing("") is None


def test_in_all_its_forms() -> None:
    found = tracing("tracing: 'http://127.0.0.1:4318'")
    assert found == tracing("tracing: {otlp: 'http://127.0.0.1:4318'}")
    assert found is not None
    assert (found.sample, str(found.sample), found.service, found.timeout, found.queue) == (10_000, "1%", "proxyd", 10_000, 8_192)


@pytest.mark.parametrize(("text", "url"), [
    ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"), ("http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"),
    ("https://otel.example.com/proxyd", "https://otel.example.com/proxyd/v1/traces"),
    ("http://127.0.0.1:4318/v1/traces", "http://127.0.0.1:4318/v1/traces"),
])
def test_where_spans_go(text: str, url: str) -> None:
    found = tracing(f"tracing: '{text}'")
    assert found is not None
    assert found.url == url


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLECTOR_KEY", "s3cret")
    text = "listen: :1\nto: 'a:1'\ntracing: {otlp: 'http://127.0.0.1:4318', headers: {X-Key: '${env:COLLECTOR_KEY}'}}\n"
    config = load_text(text).config
    assert config is not None
    assert config.tracing is not None
    assert config.tracing.headers == {"X-Key": "s3cret"}
    assert "s3cret" not in canonical_text(config)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{sample: 1%}", ("PXD-022", 1)),
        ("127.0.0.1:4318", ("PXD-038", 10)),
        ("{otlp: 'http://a/?key=x'}", ("PXD-038", 17)),
        ("{otlp: 'http://a', sample: 1}", ("PXD-031", 37)),
        ("{otlp: 'http://a', sample: 101%}", ("PXD-033", 37)),
        ("{otlp: 'http://a', headers: {Host: a}}", ("PXD-082", 39)),
        ("{otlp: 'http://a', queue: 1}", ("PXD-033", 36)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    assert first_finding(f"tracing: {text}\nlisten: :1\nto: 'a:1'\n") == (expected[0], 1, expected[1])
