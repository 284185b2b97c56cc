"""One engine's ring, both ends in one hand; the writer's tests have a thread at each."""
from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd_ext.log.ring import RingProbe

Record = dict[str, int | bytes | None]
TEXTS = (
    "request_id", "client_ip", "listener", "route", "upstream", "server", "method", "trace_id",
    "host", "path", "query", "user_agent", "referer", "user", "tls_name", "tls_alpn", "policies",
)
KEPT = {"host": 255, "tls_name": 255, "path": 2048, "query": 2048, "user_agent": 512, "referer": 512, "policies": 512}


def numbered(number: int, size: int = 0) -> Record:
    return {"id": number, "path": b"/" * size}


def take_all(ring: RingProbe) -> list[int | bytes | None]:
    ids: list[int | bytes | None] = []
    while (record := ring.take()) is not None:
        ids.append(record["id"])
    return ids


def test_every_field_comes_through() -> None:
    record: Record = {
        "kind": 2, "end": 12,
        "time_us": -1, "id": 2**64 - 1, "bytes_in": 2**63, "bytes_out": 2**40, "body_out": 2**39, "config": 7, "t_total_us": 2**40,
        "t_queue_us": 0, "t_connect_us": None, "t_first_byte_us": 2**32 - 2, "status": 999, "engine": 65535,
        "client_port": 1, "fault": 64, "attempts": 255, "status_by": 2, "minor": 0, "tls": 1, "cache": 8, "cache_age": 2**32 - 2,
        "request_id": b"r", "client_ip": b"::1", "listener": b"web", "route": b"\xff\x00",
        "upstream": b"u", "server": b"s", "method": b"GET", "host": b"h", "path": b"/", "query": b"q", "user_agent": b"ua",
        "referer": b"ref", "trace_id": b"t", "user": b"ann", "packets_in": 2**60,
        "packets_out": 2**61, "tls_name": b"a.example", "tls_alpn": b"\x02h2", "policies": b"p:refused",
        "traced": 2, "parent_id": b"0011223344556677", "tries": b"\x01" * 60,
    }
    ring = RingProbe(1)
    ring.submit(record)
    assert ring.take() == record
    assert ring.take() is None


def test_none_and_empty_stay_apart() -> None:
    ring = RingProbe(1)
    ring.submit({"query": b""})
    ring.submit({"query": None})
    first, second = ring.take(), ring.take()
    assert first is not None
    assert second is not None
    assert (first["query"], second["query"]) == (b"", None)


@pytest.mark.parametrize("name", TEXTS)
def test_each_string_is_cut_to_its_bound(name: str) -> None:
    bound = KEPT.get(name, 128)
    ring = RingProbe(1)
    for size in (bound - 1, bound, bound + 1, 100_000):
        ring.submit({name: bytes(index % 251 for index in range(size))})
        record = ring.take()
        assert record is not None
        assert record[name] == bytes(index % 251 for index in range(min(size, bound)))
    assert ring.dropped == 0


def test_a_record_of_full_strings_fits_at_every_position() -> None:
    ring = RingProbe(1)
    full = dict.fromkeys(TEXTS, b"\xff" * 3000)
    for size in range(0, 2000, 37):
        ring.submit(numbered(1, size))
        ring.submit({**full, "id": 2})
        assert take_all(ring) == [1, 2]
    assert ring.dropped == 0


@pytest.mark.parametrize(("asked", "given_bytes"), [(0, 32_768), (32_768, 32_768), (32_769, 65_536), (100_000, 131_072)])
def test_size_is_rounded_up_to_a_power_of_two(asked: int, given_bytes: int) -> None:
    assert RingProbe(asked).capacity == given_bytes


def test_a_full_ring_drops_and_counts() -> None:
    ring = RingProbe(1)
    submitted = 0
    while ring.dropped == 0:
        ring.submit(numbered(submitted))
        submitted += 1
    for _ in range(9):
        ring.submit(numbered(submitted))
    assert ring.dropped == 10
    assert ring.used <= ring.capacity
    assert take_all(ring) == list(range(submitted - 1))
    ring.submit(numbered(99))
    assert take_all(ring) == [99]
    assert ring.dropped == 10


@settings(max_examples=150)
@given(st.lists(st.one_of(st.integers(0, 2100), st.just(-1)), max_size=120))
def test_what_is_taken_is_what_was_not_dropped_in_order(steps: list[int]) -> None:
    """A step is the size of a path to submit, or -1 to take one; enough of them go round the ring many times."""
    ring = RingProbe(1)
    held: deque[tuple[int, bytes]] = deque()
    for number, step in enumerate(steps):
        if step < 0:
            record = ring.take()
            expected = held.popleft() if held else None
            assert (None if record is None else (record["id"], record["path"])) == expected
            continue
        before = ring.dropped
        ring.submit(numbered(number, step))
        if ring.dropped == before:
            held.append((number, b"/" * min(step, 2048)))
        else:
            # Only a ring without room for it may refuse a record: here at most half of the ring is one frame and one skip.
            assert ring.used + 2 * (step + 400) > ring.capacity // 2
    assert take_all(ring) == [number for number, _ in held]


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(TypeError, match="colour"):
        RingProbe(1).submit({"colour": 1})
