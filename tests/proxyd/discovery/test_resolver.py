from __future__ import annotations

import socket

import pytest

from proxyd.discovery.resolver import TTL_MAX, TTL_MIN, AresResolver, ResolveError, choose

V4, V6 = socket.AF_INET, socket.AF_INET6


def test_addresses_are_sorted_without_repeats_and_the_shortest_ttl_holds() -> None:
    answer = choose([(V4, "10.0.0.2", 30), (V4, "10.0.0.1", 20), (V4, "10.0.0.2", 30)])
    assert answer.addresses == ("10.0.0.1", "10.0.0.2")
    assert answer.ttl == 20


def test_one_family_only() -> None:
    assert choose([(V6, "2001:db8::1", 5), (V4, "10.0.0.1", 9)]).addresses == ("10.0.0.1",)
    assert choose([(V6, "2001:db8::1", 5)]).addresses == ("2001:db8::1",)


@pytest.mark.parametrize(("ttl", "held"), [(0, TTL_MIN), (1, 1), (59, 59), (86_400, TTL_MAX)])
def test_the_ttl_has_bounds(ttl: int, held: float) -> None:
    assert choose([(V4, "10.0.0.1", ttl)]).ttl == held


def test_nothing_is_an_error() -> None:
    with pytest.raises(ResolveError):
        choose([])


async def test_localhost_needs_no_server() -> None:
    resolver = AresResolver(timeout=1, tries=1)
    assert (await resolver.lookup("localhost")).addresses == ("127.0.0.1",)
    await resolver.close()


async def test_what_cannot_exist_is_told_in_plain_words() -> None:
    # c-ares answers for `.onion` itself, with "not found" (RFC 7686), so that this needs no server either
    resolver = AresResolver(timeout=1, tries=1)
    with pytest.raises(ResolveError, match="not found"):
        await resolver.lookup("nothing.onion")
    await resolver.close()
