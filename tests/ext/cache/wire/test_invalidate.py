"""What a change takes away: RFC 9111 section 4.4; and that unsafe methods are written through (section 4)."""

from __future__ import annotations

import pytest

from tests.support.cache_rig import Answer, Ask, CacheRig, Row

FRESH = Answer("Cache-Control: max-age=600")
UNSAFE = ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"]
DONE = Answer()


def changed(status: int, goes: bool, method: str = "POST") -> Row:
    """Stored, then changed with an answer of this status, then asked for again."""
    return Row(
        FRESH,
        Ask(1),
        Ask(2, method=method, body=b"x", answer=Answer(status=status), status=status),
        Ask(3 if goes else 1, answer=FRESH, asked=3 if goes else 2),
    )


METHODS = {f"4.4 MUST {method}": changed(200, True, method) for method in UNSAFE}
STATUSES = {
    "4.4 MUST 201": changed(201, True),
    "4.4 MUST 303": changed(303, True),
    "4.4 not 400": changed(400, False),
    "4.4 not 404": changed(404, False),
    "4.4 not 500": changed(500, False),
    "4.4 MUST a method whose safety is unknown": changed(200, True, "FROB"),
    "4.4 not OPTIONS, which is safe": changed(200, False, "OPTIONS"),
    "4.4 204": Row(FRESH, Ask(1), Ask(method="DELETE", answer=Answer(status=204), status=204, asked=2), Ask(3, answer=FRESH)),
}

THROUGH = {
    f"4 MUST write through {method}": Row(FRESH, Ask(1), Ask(2, method=method, body=b"x"), Ask(3, method=method, body=b"x"))
    for method in UNSAFE
}

VARIANTS = Answer("Cache-Control: max-age=600", "Vary: Foo")
WIDER = {
    "4.4 MUST all variants": Row(
        VARIANTS,
        Ask(1, fields=["Foo: 1"]),
        Ask(2, fields=["Foo: 2"]),
        Ask(3, method="PUT", body=b"x", fields=["Foo: 3"], answer=DONE),
        Ask(4, fields=["Foo: 1"], answer=VARIANTS),
        Ask(5, fields=["Foo: 2"]),
    ),
    "4.4 another query stays": Row(FRESH, Ask(1, path="?a"), Ask(2, method="POST", body=b"x", path="?b"), Ask(1, path="?a")),
    "4.4 another host stays": Row(FRESH, Ask(1, host="one"), Ask(2, method="POST", body=b"x", host="two"), Ask(1, host="one")),
    "4.4 what was not stored is not missed": Row(FRESH, Ask(1, method="POST", body=b"x"), Ask(2), Ask(2)),
}


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in METHODS.items()])
def test_methods(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in STATUSES.items()])
def test_statuses(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in THROUGH.items()])
def test_written_through(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in WIDER.items()])
def test_reach(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("name", ["Location", "Content-Location"])
@pytest.mark.parametrize(
    ("value", "goes"),
    [
        ("/{row}/made", True),
        ("made", True),
        ("http://test/{row}/made", True),
        ("http://TEST:80/{row}/made", True),
        ("//test/{row}/made", True),
        ("http://other/{row}/made", False),
        ("https://test/{row}/made", False),
        ("http://test:8080/{row}/made", False),
        ("/{row}/other", False),
    ],
)
def test_locations(cache: CacheRig, name: str, value: str, goes: bool) -> None:
    """RFC 9111 section 4.4: MAY those in Location and Content-Location; MUST NOT those of another origin."""
    cache.begin({})
    cache.answer = FRESH
    assert cache.ask(Ask(path="/made")).body == b"#1"
    cache.answer = Answer(f"{name}: {value.format(row=cache.rows)}", status=201)
    assert cache.ask(Ask(path="/", method="POST", body=b"x")).status == 201
    cache.answer = FRESH
    assert cache.ask(Ask(path="/made")).body == (b"#3" if goes else b"#1")


def test_a_fetch_under_way_is_not_stored(cache: CacheRig) -> None:
    """What was asked for before a change was answered is not stored behind it."""
    cache.begin({}, scripted=True)
    first = cache.connect(Ask())
    slow, _ = cache.origin.asked()
    change = cache.connect(Ask(method="PUT", body=b"x"))
    quick, _ = cache.origin.asked()
    quick.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert change.response().status == 200
    slow.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 3\r\n\r\nold")
    assert first.response().body == b"old"
    third = cache.connect(Ask())
    cache.rig.settle()
    heard = [peer for peer in (slow, quick) if peer.got()]
    assert len(heard) == 1, "the origin is asked again"
    heard[0].request()
    heard[0].send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 3\r\n\r\nnew")
    assert third.response().body == b"new"
