from __future__ import annotations

import pytest

from proxyd.config.model import Cache, SnapshotFile
from proxyd.config.units import Size
from tests.support.config import config_of, first_finding


def cache(text: str) -> Cache:
    return config_of(f"listeners: {{a: {{bind: '127.0.0.1:1', mode: cache}}}}\ncache: {text}").cache


def test_without_a_word_there_are_256_mib_and_nothing_else() -> None:
    found = cache("{}")
    assert (found.memory.size, found.memory.snapshot, found.tiers, found.shared) == (Size("256MiB"), None, ("memory",), None)
    assert found.purge.allow == ()
    assert not found.is_shared


def test_short_forms() -> None:
    assert cache("{memory: 1GiB}") == cache("{memory: {size: 1GiB}}")
    assert cache("{memory: {snapshot: /a/b}}").memory.snapshot == SnapshotFile(file="/a/b")
    assert cache("{memory: {snapshot: none}}").memory.snapshot is None
    assert cache("{purge: {allow: 10.0.0.1}}").purge.allow == ("10.0.0.1/32",)


def test_the_shared_tier_is_in_use_when_tiers_say_so() -> None:
    text = "listen: ':1'\nroutes: [{to: ['a:1'], cache: on}]\ncache: "
    assert config_of(text + "{shared: 'a:1'}").cache.is_shared
    assert not config_of(text + "{shared: 'a:1', tiers: memory}").cache.is_shared


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{memory: 1MiB}", ("PXD-033", 17)),
        ("{memory: 1024}", ("PXD-031", 17)),
        ("{memory: {size: 1MiB}}", ("PXD-033", 24)),
        ("{memory: {snapshot: a/b}}", ("PXD-038", 28)),
        ("{memory: {snapshot: {every: 1h}}}", ("PXD-022", 18)),
        ("{memory: {snapshot: {file: /a, every: 1s}}}", ("PXD-033", 46)),
        ("{tiers: []}", ("PXD-022", 9)),
        ("{tiers: [disk]}", ("PXD-034", 17)),
        ("{tiers: [shared, memory], shared: 'a:1'}", ("PXD-039", 16)),
        ("{tiers: shared, shared: 'a:1'}", ("PXD-039", 16)),
        ("{tiers: [memory, memory]}", ("PXD-039", 16)),
        ("{tiers: [memory, shared]}", ("PXD-053", 25)),
        ("{purge: {allow: [10.0.0.1/8]}}", ("PXD-038", 25)),
        ("{purge: {from: a}}", ("PXD-021", 17)),
        ("{aside: {ttl: 500ms}}", ("PXD-032", 22)),
        ("{aside: {max_value: 1B}}", ("PXD-033", 28)),
        ("{disk: {}}", ("PXD-021", 9)),
        ("2GiB", ("PXD-030", 8)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    found = first_finding(f"listeners: {{a: {{bind: '127.0.0.1:1', mode: cache}}}}\ncache: {text}\n")
    assert found == (expected[0], 2, expected[1])


def test_a_refused_tier_is_not_missing_too() -> None:
    text = "listen: ':1'\nroutes: [{to: ['a:1'], cache: on}]\ncache: {tiers: [memory, shared], shared: {redis: 'http://a'}}\n"
    assert first_finding(text) == ("PXD-035", 3, 50)
