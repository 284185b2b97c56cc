from __future__ import annotations

import itertools

import pytest

from proxyd_ext.filter.key import hash_key
from proxyd_ext.snapshot.spec import LimitKeyPart

IP = LimitKeyPart("client.ip", ipv4_bits=24, ipv6_bits=64)
HOST, TENANT = LimitKeyPart("host"), LimitKeyPart("header", "x-tenant")


def test_a_key_whose_parts_are_all_empty_is_none() -> None:
    assert [hash_key((TENANT,), [""]), hash_key((HOST, TENANT), ["", ""]), hash_key((HOST, TENANT), ["", ""], 7)] == [0, 0, 0]
    assert 0 not in {hash_key((HOST, TENANT), texts) for texts in itertools.product(("", "a"), ("", "a")) if any(texts)}


def test_parts_are_told_apart() -> None:
    texts = [("a", "b"), ("b", "a"), ("ab", ""), ("", "ab"), ("a", "a"), ("b", "b")]
    assert len({hash_key((HOST, TENANT), pair) for pair in texts}) == len(texts)


def test_clients_by_network() -> None:
    def of(address: str) -> int:
        return hash_key((IP,), [address])

    assert of("192.0.2.1") == of("192.0.2.254") != of("192.0.3.1")
    assert of("2001:db8::1") == of("2001:db8::ffff:0:1") != of("2001:db8:0:1::1")
    assert of("0.0.0.0") != of("::") != 0
    with pytest.raises(ValueError, match="not an IP address"):
        of("me")


def test_with_salt_a_key_is_the_same_everywhere() -> None:
    assert hash_key((HOST, TENANT), ["a", "b"], 7) == hash_key((HOST, TENANT), ["a", "b"], 7)
    assert len({hash_key((HOST,), ["a"], salt) for salt in (0, 7, 8)}) == 3


def test_as_many_texts_as_parts() -> None:
    with pytest.raises(ValueError, match="2 parts, 1 given"):
        hash_key((HOST, TENANT), ["a"])
