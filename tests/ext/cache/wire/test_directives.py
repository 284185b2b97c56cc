"""What requests say about stored answers: RFC 9111 sections 5.2.1, 5.4."""

from __future__ import annotations

import pytest

from proxyd_ext.snapshot.spec import Condition
from tests.support.cache_rig import Answer, Ask, CacheRig, Row

FRESH = Answer("Cache-Control: max-age=600")
TAGGED = Answer("Cache-Control: max-age=600", 'ETag: "a"')


def wants(directive: str, after: int, served: bool, answer: Answer = FRESH) -> Row:
    """Stored; some seconds later asked for with this directive."""
    return Row(answer, Ask(1), Ask(1 if served else 2, after=after, fields=[f"Cache-Control: {directive}"]))


DIRECTIVES = {
    "5.2.1.1 max-age: young enough": wants("max-age=60", 59, True),
    "5.2.1.1 max-age: too old": wants("max-age=60", 61, False),
    "5.2.1.1 max-age: too old by the Age it came with": wants("max-age=60", 0, False, Answer("Cache-Control: max-age=600", "Age: 100")),
    "5.2.1.1 max-age=0": wants("max-age=0", 1, False),
    "5.2.1.3 min-fresh: fresh for long enough": wants("min-fresh=60", 530, True),
    "5.2.1.3 min-fresh: not for long enough": wants("min-fresh=60", 550, False),
    "5.2.1.2 max-stale: not too stale": wants("max-stale=60", 650, True),
    "5.2.1.2 max-stale: too stale": wants("max-stale=60", 670, False),
    "5.2.1.2 max-stale without a number: however stale": wants("max-stale", 5000, True),
    "5.2.1.2 no max-stale": wants("max-age=9999", 650, False),
    "5.2.2.2 MUST NOT max-stale against must-revalidate": wants(
        "max-stale=60", 610, False, Answer("Cache-Control: max-age=600, must-revalidate")
    ),
    "5.2.2.10 MUST NOT max-stale against s-maxage": wants("max-stale=60", 610, False, Answer("Cache-Control: s-maxage=600")),
    "5.2.2.4 MUST NOT max-stale against no-cache": wants("max-stale=60", 1, False, Answer("Cache-Control: max-age=600, no-cache")),
    "5.2.1.4 no-cache": wants("no-cache", 1, False),
    "5.2.1.4 No-CaChE": wants("No-CaChE", 1, False),
    "5.2.1.4 no-cache validates, if that can be done": Row(
        TAGGED, Ask(1), Ask(1, fields=["Cache-Control: no-cache"], asked=2, heard=['If-None-Match: "a"']), Ask(1, asked=2)
    ),
    "5.2.1.4 what no-cache brought is stored for others": Row(FRESH, Ask(1), Ask(2, fields=["Cache-Control: no-cache"]), Ask(2)),
    "5.2 unknown directives are skipped": wants("foo, bar=1", 1, True),
    "5.4 Pragma: no-cache without Cache-Control": Row(FRESH, Ask(1), Ask(2, fields=["Pragma: no-cache"])),
    "5.4 Pragma does not count beside Cache-Control": Row(FRESH, Ask(1), Ask(1, fields=["Pragma: no-cache", "Cache-Control: max-age=60"])),
    "5.4 Pragma: something else": Row(FRESH, Ask(1), Ask(1, fields=["Pragma: foo"])),
}

ONLY_IF_CACHED = {
    "5.2.1.7 stored: given": Row(FRESH, Ask(1), Ask(1, fields=["Cache-Control: only-if-cached"])),
    "5.2.1.7 not stored: 504, and the origin is not asked": Row(
        FRESH, Ask(fields=["Cache-Control: only-if-cached"], status=504, asked=0), Ask(1), Ask(1, fields=["Cache-Control: only-if-cached"])
    ),
    "5.2.1.7 stale: 504": Row(FRESH, Ask(1), Ask(after=601, fields=["Cache-Control: only-if-cached"], status=504)),
    "5.2.1.7 stale, with max-stale: given": Row(FRESH, Ask(1), Ask(1, after=601, fields=["Cache-Control: only-if-cached, max-stale=60"])),
    "5.2.1.7 another variant: 504": Row(
        Answer("Cache-Control: max-age=600", "Vary: Foo"),
        Ask(1, fields=["Foo: 1"]),
        Ask(fields=["Foo: 2", "Cache-Control: only-if-cached"], status=504),
    ),
}

NOT_OBEYED = {
    "configured: clients cannot make it ask": Row(
        FRESH,
        Ask(1),
        Ask(1, fields=["Cache-Control: no-cache"]),
        Ask(1, fields=["Cache-Control: max-age=0"]),
        Ask(1, fields=["Cache-Control: no-store"]),
        Ask(1, fields=["Pragma: no-cache"]),
        Ask(2, after=601, fields=["Cache-Control: max-stale"]),
        client_directives=False,
    ),
}

BYPASS = {
    "configured: neither looked up nor stored": Row(
        FRESH,
        Ask(1, fields=["Cookie: session=1"]),
        Ask(2),
        Ask(3, fields=["Cookie: session=1"]),
        Ask(2),
        bypass=[Condition("cookie", "present", "session")],
    ),
}


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in DIRECTIVES.items()])
def test_directive(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in ONLY_IF_CACHED.items()])
def test_only_if_cached(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in NOT_OBEYED.items()])
def test_not_obeyed(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in BYPASS.items()])
def test_bypass(cache: CacheRig, row: Row) -> None:
    cache.play(row)


def test_passed_on(cache: CacheRig) -> None:
    """RFC 9111 section 5.2: a proxy passes directives on, whether it knows them or not."""
    cache.play(Row(FRESH, Ask(1, fields=["Cache-Control: max-age=60, foo=bar"], heard=["Cache-Control: max-age=60, foo=bar"])))


def test_no_store_of_a_request(cache: CacheRig) -> None:
    """RFC 9111 section 5.2.1.5: MUST NOT store the answer to it; that says nothing about the answer that others get."""
    cache.play(Row(FRESH, Ask(1, fields=["Cache-Control: no-store"]), Ask(2, fields=["Cache-Control: no-store"]), Ask(3), Ask(3)))
