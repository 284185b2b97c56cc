from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.filters import Changes, Request, Response, ResponseHead
from proxyd.filters.protocol import (
    ASK_REQUEST,
    BROKEN,
    CHANGE,
    FAIL,
    FRAME_MAX,
    HEAD,
    PASS,
    READY,
    REPLY,
    Answer,
    Broken,
    Change,
    Failure,
    Frames,
    HookWord,
    Loaded,
    ProtocolError,
    Reply,
    answer,
    ask,
    broken,
    failed,
    frame,
    parse_answer,
    parse_ask,
    parse_loaded,
    parse_payload,
    ready,
)
from tests.support.filters import ANSWER, REQUEST


def only(data: bytes) -> tuple[int, int, bytes]:
    [found] = Frames().feed(data)
    return found


def said(hook: HookWord, result: object) -> Answer:
    kind, call, body = only(answer(7, hook, result))
    assert call == 7
    return parse_answer(kind, body)


@given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.integers(0, 400), max_size=8))
def test_frames_are_the_same_wherever_the_stream_is_cut(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(frame(PASS, number, body) for number, body in enumerate(bodies))
    frames = Frames()
    found: list[tuple[int, int, bytes]] = []
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    for begin, end in pairwise(places):
        found += frames.feed(stream[begin:end])
    assert found == [(PASS, number, body) for number, body in enumerate(bodies)]


def test_a_frame_that_is_too_long_is_none() -> None:
    with pytest.raises(ProtocolError, match="bytes"):
        list(Frames().feed(HEAD.pack(FRAME_MAX + 1, REPLY, 1)))


def test_a_question() -> None:
    kind, call, body = only(ask(9, "request", 12.5, REQUEST))
    assert (kind, call) == (ASK_REQUEST, 9)
    assert parse_ask(kind, body) == ("request", 12.5, REQUEST)


def test_what_a_worker_says_first() -> None:
    loaded = Loaded(frozenset({"response"}), {"/f.py": "d"})
    kind, _, body = only(ready(loaded))
    assert parse_loaded(kind, body) == loaded
    kind, _, body = only(broken(Broken("f.py:1: no", "trace" * 10_000)))
    found = parse_loaded(kind, body)
    assert isinstance(found, Broken)
    assert (found.message, len(found.trace)) == ("f.py:1: no", 4_096)


@pytest.mark.parametrize(("kind", "body"), [(READY, b"{"), (READY, b"[]"), (READY, b"{}"), (BROKEN, b'{"message": 1}'), (PASS, b"")])
def test_what_is_no_first_frame(kind: int, body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_loaded(kind, body)


def test_a_request_as_the_engine_tells_it() -> None:
    request, response = parse_payload(REQUEST)
    assert request == Request(
        "GET", "/a", "x=1", host="acme.example.com", client="192.0.2.7", id="req-1", user="user-1",
        headers=[("Host", "acme.example.com"), ("X-A", "1"), ("x-a", "2")],
    )
    assert response == ResponseHead()


def test_a_response_as_the_engine_tells_it() -> None:
    request, response = parse_payload(ANSWER)
    assert request == parse_payload(REQUEST)[0]
    assert response == ResponseHead(200, [("Content-Type", "text/html"), ("X-Internal-Node", "n7")])


def test_empty_parts_of_what_the_engine_tells() -> None:
    request, response = parse_payload(b"GET / http ::1 r\n\n\n\n204\n")
    assert (request.host, request.user, len(request.headers)) == ("", "", 0)
    assert response == ResponseHead(204)
    assert parse_payload(b"GET / http ::1 r\n\n\n")[0] == request


@pytest.mark.parametrize(
    ("hook", "result", "expected"),
    [
        ("request", None, Change()),
        ("request", Changes(), Change()),
        (
            "request",
            Changes(set={"X-A": "\xe4"}, add=[("X-B", "2"), ("X-B", "3")], remove=["X-C"], path="/p", query=""),
            Change(b"X-A: \xe4\r\nX-B: 2\r\nX-B: 3\r\n", b"x-c\nx-a\n", "/p", ""),
        ),
        ("response", Changes(status=404), Change(status=404)),
        ("response", Response(200, "x"), Reply(200, b"Content-Type: text/plain; charset=utf-8\r\n", b"x")),
        ("request", Response(204), Reply(204, b"", b"")),
    ],
)
def test_what_hooks_return(hook: HookWord, result: object, expected: Answer) -> None:
    assert said(hook, result) == expected


@pytest.mark.parametrize(
    ("hook", "result", "error"),
    [
        ("request", True, TypeError),
        ("request", {"set": {}}, TypeError),
        ("request", Changes(status=404), ValueError),
        ("response", Changes(path="/"), ValueError),
        ("response", Changes(query=""), ValueError),
    ],
)
def test_what_hooks_may_not_return(hook: HookWord, result: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        answer(1, hook, result)


def test_failures() -> None:
    kind, _, body = only(failed(1, Failure("timeout", "slow\0er \N{EURO SIGN}", "trace")))
    assert parse_answer(kind, body) == Failure("timeout", "slow er \N{EURO SIGN}", "trace")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (99, b""),
        (CHANGE, b"\0"),
        (CHANGE, b"\0\0\0\0\0\0\0\0\0\0\xff"),
        (CHANGE, b"\0\0\0\0\x01\0\0\0\0\0\0\xff"),
        (REPLY, b"\0\xc8\0\0\0\x09"),
        (REPLY, b"\0"),
        (FAIL, b""),
        (FAIL, b"\x07text"),
    ],
)
def test_what_is_no_answer(kind: int, body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_answer(kind, body)


@given(st.integers(0, 255), st.binary(max_size=60))
def test_any_bytes_are_an_answer_or_none(kind: int, body: bytes) -> None:
    try:
        assert isinstance(parse_answer(kind, body), Change | Reply | Failure)
    except ProtocolError:
        assert kind != PASS
