from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from proxyd.config.tracing import Tracing
from proxyd.records.tap import Record, Tap
from proxyd.state import TraceEntry
from proxyd.tracing.exporter import BATCH, BATCH_SECONDS, TRIES, Exporter
from proxyd.tracing.post import Outcome
from tests.proxyd.tracing.test_spans import record
from tests.support.client import get
from tests.support.clock import FakeClock
from tests.support.daemon import port_of, running
from tests.support.origin import Origin
from tests.support.otlp import Collector, Span, unpack
from tests.support.wait import until


class FakeTap(Tap):
    """Tells what a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.tell: list[Callable[[list[Record]], None]] = []

    def subscribe(self, on_records: Callable[[list[Record]], None], *, everything: bool = False) -> Callable[[], None]:
        assert not everything, "sampled records are told anyway"
        self.tell.append(on_records)
        return self.tell.clear


@dataclass
class FakePost:
    outcomes: list[Outcome] = field(default_factory=list)      # the last holds on
    sent: list[tuple[str, list[Span]]] = field(default_factory=list)
    closed: bool = False

    async def send(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Outcome:
        self.sent.append((url, unpack(body)))
        return self.outcomes.pop(0) if len(self.outcomes) > 1 else (self.outcomes or [Outcome()])[0]

    async def close(self) -> None:
        self.closed = True


@dataclass
class Stage:
    tap: FakeTap = field(default_factory=FakeTap)
    clock: FakeClock = field(default_factory=FakeClock)
    post: FakePost = field(default_factory=FakePost)

    def __post_init__(self) -> None:
        self.exporter = Exporter(self.tap, self.clock, self.post)

    def follow(self, **settings: object) -> None:
        self.exporter.follow(Tracing.model_validate({"otlp": "http://127.0.0.1:4318", **settings}))

    def tell(self, *records: Record) -> None:
        self.tap.tell[0](list(records))

    def entry(self) -> TraceEntry:
        entry = self.exporter.entry()
        assert entry is not None
        return entry

    async def second(self) -> None:
        await self.clock.sleeping(1)
        await self.clock.advance(BATCH_SECONDS)

    async def sent(self, count: int) -> None:
        await until(lambda: len(self.post.sent) >= count)

    async def counted(self, result: str, count: int) -> None:
        await until(lambda: self.entry().spans[result] == count, f"{count} spans {result}")


AWAY = Outcome("connection refused", retry=True)


async def test_what_is_sampled_leaves_after_a_second() -> None:
    stage = Stage()
    assert stage.exporter.entry() is None
    stage.follow()
    stage.tell(record(), record(sampled=False), {"listener": "pg"})
    stage.tell(record(status_by="cache"))
    await stage.second()
    await stage.counted("sent", 3)
    (url, spans), = stage.post.sent
    assert url == "http://127.0.0.1:4318/v1/traces"
    assert len(spans) == 3
    assert stage.entry() == TraceEntry({"sent": 3, "rejected": 0, "failed": 0, "dropped": 0}, 0, 8192, url, "")
    await stage.exporter.close()
    assert stage.post.closed


async def test_a_full_batch_does_not_wait() -> None:
    stage = Stage()
    stage.follow()
    stage.tell(*[record(status_by="cache")] * (BATCH + 1))
    await stage.counted("sent", BATCH)
    assert stage.entry().waiting == 1
    await stage.exporter.close()
    assert stage.entry().spans["sent"] == BATCH + 1, "the rest is flushed"


async def test_the_queue_is_bounded() -> None:
    stage = Stage()
    stage.follow(queue=512)
    stage.post.outcomes = [AWAY]
    stage.tell(*[record()] * 600)
    assert stage.entry().spans["dropped"] == 2 * 88
    assert stage.entry().waiting == 512
    await stage.exporter.close()


async def test_patience_with_a_collector() -> None:
    stage = Stage()
    stage.follow()
    stage.post.outcomes = [AWAY, Outcome("status 503", retry=True, wait=10.0), AWAY, Outcome(rejected=1)]
    stage.tell(record())
    await stage.second()
    waits = []
    for sent in (1, 2, 3):
        await stage.sent(sent)
        await stage.clock.sleeping(1)
        before = stage.clock.monotonic()
        while len(stage.post.sent) == sent:
            await stage.clock.advance(0.5)
            await until(lambda: True)
        waits.append(stage.clock.monotonic() - before)
    assert waits == [1.0, 10.0, 4.0], "twice as long each time, unless the collector says how long"
    await stage.counted("sent", 1)
    assert stage.entry().spans["rejected"] == 1
    await stage.exporter.close()


async def test_a_collector_cannot_reject_more_than_it_got() -> None:
    """A counter would fall."""
    stage = Stage()
    stage.follow()
    stage.post.outcomes = [Outcome(rejected=10**9)]
    stage.tell(record())
    await stage.second()
    await stage.counted("rejected", 2)
    assert stage.entry().spans["sent"] == 0
    await stage.exporter.close()


async def test_a_batch_that_nobody_takes_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "proxyd.tracing")
    stage = Stage()
    stage.follow()
    stage.post.outcomes = [AWAY] * TRIES + [Outcome()]
    stage.tell(record())
    await stage.second()
    await stage.clock.sleeping(1)                    # after the first try
    await stage.clock.advance(2**TRIES)              # through all the waits
    await stage.counted("failed", 2)
    assert len(stage.post.sent) == TRIES
    assert stage.exporter.warnings() == (
        "spans cannot be exported to http://127.0.0.1:4318/v1/traces: connection refused; 2 lost so far",)
    stage.tell(record())
    await stage.second()
    await stage.counted("sent", 2)
    assert stage.exporter.warnings() == ()
    assert [line.message.partition(":")[0] for line in caplog.records] == [
        "spans cannot be exported to http", "spans are exported to http"]
    await stage.exporter.close()


async def test_what_is_refused_is_not_sent_again() -> None:
    stage = Stage()
    stage.follow()
    stage.post.outcomes = [Outcome("status 400")]
    stage.tell(record())
    await stage.second()
    await stage.counted("failed", 2)
    assert len(stage.post.sent) == 1
    await stage.exporter.close()


async def test_a_record_that_cannot_be_written_stops_nothing() -> None:
    stage = Stage()
    stage.follow()
    stage.tell(record(time="yesterday"))
    await stage.second()
    await stage.counted("failed", 2)
    stage.tell(record())
    await stage.clock.sleeping(1)                    # until the task starts again
    await stage.clock.advance(60)
    await stage.counted("sent", 2)
    await stage.exporter.close()


async def test_reloads_are_followed() -> None:
    stage = Stage()
    stage.exporter.follow(None)
    stage.follow()
    stage.tell(record())
    stage.follow(otlp="http://127.0.0.1:9/v1/traces", service="edge")
    await stage.second()
    await stage.sent(1)
    assert stage.post.sent[0][0] == "http://127.0.0.1:9/v1/traces"
    stage.exporter.follow(None)
    assert stage.tap.tell == [], "nobody listens any more"
    await stage.exporter.close()


async def test_leaving_takes_along_what_a_broken_try_has_in_hand() -> None:
    stage = Stage()
    stage.follow()
    stage.post.outcomes = [AWAY, Outcome()]
    stage.tell(record())
    await stage.second()
    await stage.sent(1)
    await stage.clock.sleeping(1)                    # before the second try
    await stage.exporter.close()
    assert stage.entry().spans["sent"] == 2
    assert stage.entry().waiting == 0


@pytest.mark.parametrize("threads", [0, 1])
async def test_a_traced_request_reaches_the_collector(threads: int) -> None:
    """From the client's traceparent to the origin and, at the latest when the daemon leaves, to the collector, as one trace."""
    trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    async with Collector() as collector, Origin("one") as one:
        text = f'listen: "127.0.0.1:0"\nto: ["{one.address}"]\ntracing: {{otlp: "{collector.url}", sample: 0%}}\n'
        async with running(text, threads=threads) as daemon:
            assert (await get(port_of(daemon), "/plain")).status == 200
            assert (await get(port_of(daemon), "/traced?x=1", f"traceparent: 00-{trace}-{parent}-01")).status == 200
        server, client = collector.spans
        assert (server["traceId"], server["parentSpanId"], server["attributes"]["url.path"]) == (trace, parent, "/traced")
        assert (client["parentSpanId"], client["attributes"]["server.port"]) == (server["spanId"], one.port)
        assert f"00-{trace}-{server['spanId']}-01" in one.heads[-1].decode()


async def test_all_are_traced_that_are_to_be() -> None:
    async with Collector() as collector:
        text = f'listen: "127.0.0.1:0"\nroutes: [{{respond: 200}}]\ntracing: {{otlp: "{collector.url}", sample: 100%}}\n'
        async with running(text) as daemon:
            for _ in range(3):
                await get(port_of(daemon))
        assert len({span["traceId"] for span in collector.spans}) == 3
