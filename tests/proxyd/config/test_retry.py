from __future__ import annotations

import pytest

from proxyd.config import load_text
from proxyd.config.model import Retry
from proxyd.config.retry import statuses_of
from tests.support.config import config_of, first_finding, upstream_of


def retry(text: str) -> Retry:
    return upstream_of(f"retry: {text}").retry


def test_in_short() -> None:
    assert retry("none") == retry("{attempts: 0}")
    assert retry("3") == retry("{attempts: 3}")
    assert retry("{budget: 30%}") == retry("{budget: {percent: 30%, min: 3}}")
    assert retry("{when: reset}") == retry("{when: [reset]}")
    assert retry("{backoff: none}").backoff is None


def test_the_ladder_of_two_four_and_eight_seconds() -> None:
    backoff = retry("{attempts: 3, backoff: {base: 2s, factor: 2, max: 8s, jitter: none}}").backoff
    assert backoff is not None
    assert [min(backoff.base * backoff.factor**n // 100**n, backoff.max) for n in range(3)] == [2000, 4000, 8000]


def test_statuses_beside_words() -> None:
    when = retry('{when: [connect_failure, 503, "502-504", 5xx, "429,409"]}').when
    assert when == ("connect_failure", "503", "502-504", "500-599", "429,409")
    assert statuses_of(when) == ((503, 503), (502, 504), (500, 599), (429, 429), (409, 409))


def test_a_route_without_its_own_is_not_one_without_any() -> None:
    config = config_of("listen: :1\nroutes: [{match: /a, to: app, retry: none}, {to: app}]\nupstreams: {app: 'a:1'}\n")
    assert config.routes[0].retry == Retry(attempts=0)
    assert config.routes[1].retry is None


def test_hedges() -> None:
    config = config_of("""
        listen: :1
        upstreams: {app: 'a:1'}
        routes:
          - {match: /a, to: app, hedge: p90}
          - {match: /b, to: app, hedge: 200ms}
          - {match: /c, to: app, hedge: {after: 1s, max: 2}}
          - {match: /d, to: app, hedge: on}
          - {to: app}
    """)
    hedges = [route.hedge for route in config.routes]
    assert [hedge and (hedge.after, hedge.max) for hedge in hedges] == [("p90", 1), (200, 1), (1000, 2), ("p95", 1), None]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("retry: many", ("PXD-030", 8)),
        ("retry: 11", ("PXD-033", 8)),
        ("retry: {when: []}", ("PXD-022", 9)),
        ("retry: {when: [503, connect-failure]}", ("PXD-034", 21)),
        ("retry: {when: [no_server]}", ("PXD-034", 16)),
        ("retry: {when: ['600']}", ("PXD-038", 16)),
        ("retry: {when: ['200-299']}", ("PXD-033", 16)),
        ("retry: {budget: 20}", ("PXD-031", 17)),
        ("retry: {budget: {percent: 101%}}", ("PXD-033", 27)),
        ("retry: {backoff: {base: 1s}}", ("PXD-039", 25)),
        ("retry: {backoff: {base: 1s, max: 500ms}}", ("PXD-039", 34)),
        ("retry: {backoff: {factor: 0.5}}", ("PXD-033", 27)),
        ("retry: {backoff: {factor: 2s}}", ("PXD-032", 27)),
        ("retry: {backoff: {jitter: half}}", ("PXD-034", 27)),
        ("retry: {retry_after: 2}", ("PXD-031", 22)),
        ("hedge: p80", ("PXD-034", 8)),
        ("hedge: 0ms", ("PXD-033", 8)),
        ("hedge: {after: 5}", ("PXD-031", 16)),
        ("hedge: {after: p95, max: 4}", ("PXD-033", 26)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    found = first_finding(f"routes: [{{to: app,\n{text}}}]\nlisten: :1\nupstreams: {{app: 'a:1'}}\n")
    assert found == (expected[0], 2, expected[1])


@pytest.mark.parametrize(
    ("word", "meant"),
    [("error", "[connect_failure, reset]"), ("gateway-error", '"502-504"'), ("http_503", '"503"'), ("conect_failure", "connect_failure")],
)
def test_words_of_other_proxies_are_understood_as_far_as_the_help(word: str, meant: str) -> None:
    [found] = load_text(f"listen: :1\nto: app\nupstreams: {{app: {{servers: 'a:1', retry: {{when: {word}}}}}}}\n", env={}).diagnostics
    assert found.help.startswith(f"did you mean `{meant}`?")
