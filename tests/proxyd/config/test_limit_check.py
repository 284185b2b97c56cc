from __future__ import annotations

import pytest

from proxyd.config import load_text
from proxyd.diagnostics.diagnostic import Diagnostic
from tests.support.config import first_finding

BASE = "listen: :1\nupstreams: {a: 'a:1', b: 'b:1'}\n"


def only(text: str) -> Diagnostic:
    [found] = load_text(f"{text}\n{BASE}", env={}).diagnostics
    return found


def test_the_sum_of_reservations_is_shown_route_by_route() -> None:
    found = only("""routes:
  - {name: shop, match: /shop/*, to: a, concurrency: {reserved: 300}}
  - {name: api, match: /api/*, to: b, concurrency: {reserved: 400, max: 500}}
  - {name: rest, match: /x/*, to: b, concurrency: {reserved: 300}}
  - {to: b, concurrency: 20}""")
    assert found.code == "PXD-083"
    assert found.message == "300 + 400 + 300 = 1000 reserved of 1000 leaves 0, and `concurrency.unreserved` wants 100"
    assert found.help == "`shop` 300, `api` 400, `rest` 300; reserve less, or raise `concurrency.total` (its default) to 1100"
    assert found.span is not None
    assert found.span.line == 3, "the one that is too much"


def test_more_than_there_is() -> None:
    found = only("routes: [{name: shop, to: {a: 1, b: 1}, concurrency: {reserved: 80}}]\nconcurrency: {total: 50, unreserved: 10}")
    assert found.message == "80 reserved is more than the 50 of `concurrency.total`, and `concurrency.unreserved` wants 10"
    assert found.help == "`shop` 80; reserve less, or raise `concurrency.total` to 90"


def test_the_routes_of_a_listener_count_too_and_shared_ones_once() -> None:
    two = "listeners: {one: {bind: ':2'}, two: {bind: ':3'}, own: {bind: ':4', routes: [{to: b, concurrency: {reserved: 400}}]}}"
    assert load_text(f"{two}\nroutes: [{{to: a, concurrency: {{reserved: 500}}}}]\n{BASE}").diagnostics == []
    found = only(f"{two}\nroutes: [{{to: a, concurrency: {{reserved: 501}}}}]")
    assert found.message.startswith("501 + 400 = 901 reserved of 1000 leaves 99")


def test_a_long_sum_is_cut() -> None:
    routes = ", ".join(f"{{match: /{number}, to: a, concurrency: {{reserved: 60}}}}" for number in range(16))
    found = only(f"routes: [{routes}, {{to: b}}]")
    assert found.message.startswith("60 + 60 + ")
    assert " + … (4 more) = 960 reserved of 1000 leaves 40" in found.message


@pytest.mark.parametrize(
    "text",
    [
        "routes: [{to: a, concurrency: {reserved: 900}}, {match: /b, to: b}]",
        "routes: [{to: a, concurrency: {reserved: 1000}}]\nconcurrency: {unreserved: 0}",
        "routes: [{to: a, concurrency: 5000}]\nconcurrency: {total: 50}",
        "to: a\nconcurrency: {total: 50}",
    ],
)
def test_what_fits(text: str) -> None:
    found = load_text(f"{text}\n{BASE}", env={}).errors
    assert found == []


def test_nothing_is_held_against_a_total_that_could_not_be_read() -> None:
    text = "routes: [{to: a, concurrency: {reserved: 5000}}]\nconcurrency: {total: 10k}"
    assert first_finding(f"{text}\n{BASE}")[0] == "PXD-030"
    assert only("routes: [{to: a, concurrency: {reserved: 5000}}]\nconcurency: {total: 10000}").code == "PXD-021"


PER_USER = (
    "policies: {u: {rate_limit: {rate: 1/s, key: [jwt.sub, client.ip]}}, c: {concurrency: {max: 2, key: api_key}}, i: {rate_limit: 1/s}}"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("routes: [{to: a, use: [i, u, c]}]", [("PXD-084", 27), ("PXD-084", 30)]),
        ("routes: [{to: a, use: u}]\ndefaults: {use: [i, c]}", [("PXD-084", 10), ("PXD-084", 23)]),
        ("routes: [{match: /x, respond: 404, use: c}]\ndefaults: {use: [i]}\nto: a", [("PXD-084", 41)]),
    ],
)
def test_identity_needs_somebody_who_tells_it(text: str, expected: list[tuple[str, int]]) -> None:
    found = load_text(f"{text}\n{PER_USER}\n{BASE}", env={}).errors
    assert [(item.code, item.span.column + 1 if item.span else 0) for item in found] == expected
    assert "no `auth` policy of the route tells who it is" in found[0].message


def test_a_policy_that_could_not_be_read_may_be_the_one_who_tells() -> None:
    text = "policies: {sso: {auth: 5}, u: {rate_limit: {rate: 1/s, key: user}}}\nroutes: [{to: a, use: [sso, u]}]"
    assert first_finding(f"{text}\nlisten: :1\nupstreams: {{a: 'a:1'}}\n")[0] == "PXD-030"


def test_a_shared_limit_needs_the_store() -> None:
    text = "policies: {p: {rate_limit: {rate: 1/s, scope: cluster}}}\nto: a\ndefaults: {use: p}"
    found = only(text.replace("to: a", "routes: [{to: {a: 1, b: 1}}]"))
    assert (found.code, found.path) == ("PXD-022", "policies.p.rate_limit.scope")


def test_a_rate_without_a_burst_is_doubtful() -> None:
    def codes(rule: str) -> list[str]:
        text = f"policies: {{p: {{rate_limit: {rule}}}}}\nroutes: [{{to: {{a: 1, b: 1}}, use: p}}]"
        return [item.code for item in load_text(f"{text}\n{BASE}", env={}).diagnostics]

    found = only("policies: {p: {rate_limit: 20/s}}\nroutes: [{to: {a: 1, b: 1}, use: p}]")
    assert (found.severity, found.code) == ("warning", "PXD-114")
    assert found.message == "without `burst`, the second of two requests that come within 50 ms is refused"
    assert found.help == "write `burst: 19` to let 20 come at once, or `burst: 0` if that is meant"
    assert codes("{rate: 20/s, burst: 0}") == codes("{rate: 20/s, burst: 5}") == codes("1/s") == []
    assert codes("5/m") == ["PXD-114"]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("routes: [{to: {a: 1, b: 1}, concurrency: {queue: 10}}]", "routes[0].concurrency.queue"),
        ("routes: [{to: {a: 1, b: 1}, concurrency: {queue: 10}}]\nconcurrency: {total: none}", "routes[0].concurrency.queue"),
        ("routes: [{to: {a: 1, b: 1}, concurrency: {reserved: 10}}]\nconcurrency: {total: none}", "routes[0].concurrency.reserved"),
    ],
)
def test_places_that_do_nothing(text: str, path: str) -> None:
    found = only(text)
    assert (found.code, found.path, found.severity) == ("PXD-106", path, "warning")
