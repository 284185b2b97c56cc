from __future__ import annotations

import socket

import pytest

from proxyd.tracing.body import encode
from proxyd.tracing.post import WAIT_MAX, HttpPost, Outcome, outcome, rejected_spans, retry_after
from tests.proxyd.tracing.test_spans import record
from tests.support.otlp import Answer, Collector

NOW = 784_111_770.0               # seven seconds before the date in RFC 9110


@pytest.mark.parametrize(("value", "seconds"), [
    ("7", 7.0), ("Sun, 06 Nov 1994 08:49:37 GMT", 7.0), ("Sun, 06 Nov 1994 08:00:00 GMT", 0.0), ("86400", WAIT_MAX), ("", 0.0),
    ("soon", 0.0), ("-1", 0.0),
])
def test_how_long_a_collector_asks_to_wait(value: str, seconds: float) -> None:
    assert retry_after(value, NOW) == seconds


@pytest.mark.parametrize(("body", "rejected"), [
    (b'{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}', 3), (b'{"partialSuccess":{"rejectedSpans":2}}', 2),
    (b'{"partialSuccess":{"rejectedSpans":1e999}}', 0), (b"[" * 50_000, 0),
    (b"{}", 0), (b"", 0), (b"\x0a\x00", 0), (b"[]", 0), (b'{"partialSuccess":null}', 0), (b'{"partialSuccess":{"rejectedSpans":"x"}}', 0),
])
def test_what_a_collector_rejects(body: bytes, rejected: int) -> None:
    assert rejected_spans(body) == rejected


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_is_tried_again(status: int) -> None:
    assert outcome(status, {"Retry-After": "2"}, b"", NOW) == Outcome(f"status {status}", retry=True, wait=2.0)


@pytest.mark.parametrize("status", [302, 400, 401, 413, 500])
def test_what_is_not(status: int) -> None:
    assert outcome(status, {}, b"", NOW) == Outcome(f"status {status}")


async def test_a_batch_goes_out_and_its_answer_is_understood() -> None:
    body, post = encode([record()], "edge"), HttpPost()
    answers = [Answer(), Answer(body='{"partialSuccess":{"rejectedSpans":"1"}}'), Answer(429, headers={"Retry-After": "3"})]
    async with Collector(answers) as collector:
        url = f"{collector.url}/v1/traces"
        assert await post.send(url, {"X-Key": "s"}, body, 5.0) == Outcome()
        assert await post.send(url, {}, body, 5.0) == Outcome(rejected=1)
        assert await post.send(url, {}, body, 5.0) == Outcome("status 429", retry=True, wait=3.0)
        assert (collector.requests[0]["X-Key"], collector.requests[0]["Content-Encoding"]) == ("s", "gzip")
        assert len(collector.spans) == 4
    await post.close()


async def test_nobody_is_there() -> None:
    post = HttpPost()
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert await post.send(f"http://127.0.0.1:{port}/v1/traces", {}, b"", 5.0) == Outcome("connection refused", retry=True)
    await post.close()
