"""The gate against a plain model of it: any order of coming, waiting, giving up, leaving and new bounds."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxyd_ext.limit.gate import Gate, Lane, audit
from proxyd_ext.limit.probe import GateProbe
from tests.reference.gate import CLASSES, NO_BOUND, ModelGate, ModelLane, Waiter

LANES = 3


@dataclass(eq=False, slots=True)
class Request:
    lane: int
    probe: GateProbe
    waiter: Waiter | None = None       # None: it is inside


BOUNDS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 5)), max_size=LANES)


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1
        self.gate = Gate()
        self.lanes = [Lane(self.gate, str(number)) for number in range(LANES)]
        self.model = ModelGate([ModelLane() for _ in range(LANES)])
        self.requests: list[Request] = []
        self.configure(4, [(1, 2, 4), (0, 3, 3), (0, 0, 2)], (10, 30))

    @rule(total=st.integers(0, 8), bounds=BOUNDS, codel=st.sampled_from([(0, 0), (5, 20), (10, 0), (10, 30)]))
    def configure(self, total: int, bounds: list[tuple[int, int, int]], codel: tuple[int, int]) -> None:
        target, interval = codel
        bounds = [(min(reserved, most) if most else reserved, most, pending) for reserved, most, pending in bounds]
        if total:
            total = max(total, sum(reserved for reserved, _, _ in bounds))
        named = list(zip(range(LANES), bounds, strict=False))
        self.gate.configure(
            total, [(self.lanes[number], *bound, 0) for number, bound in named], target_us=target, interval_us=interval, now_us=self.now
        )
        self.model.configure(total, [(self.model.lanes[number], *bound) for number, bound in named], target, interval, self.now)

    @rule(lane=st.integers(0, LANES - 1), priority=st.integers(0, CLASSES - 1), number=st.integers(1, 3))
    def come(self, lane: int, priority: int, number: int) -> None:
        for _ in range(number):
            request = Request(lane, GateProbe(self.lanes[lane]))
            entered = request.probe.enter()
            assert entered == self.model.enter(self.model.lanes[lane])
            if not entered:
                expected = self.model.wait(self.model.lanes[lane], priority, self.now)
                got = request.probe.wait(priority, self.now)
                assert got == (expected if isinstance(expected, str) else "waits")
                if isinstance(expected, str):
                    continue
                request.waiter = expected
            self.requests.append(request)

    @rule(time=st.integers(1, 20))
    def pass_time(self, time: int) -> None:
        self.now += time

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        """One that is inside leaves, one that waits gives up, whatever it has been told by then."""
        request = self.requests.pop(data.draw(st.integers(0, len(self.requests) - 1)))
        if request.waiter is None:
            request.probe.leave(self.now)
            self.model.leave(self.model.lanes[request.lane], self.now)
        else:
            request.probe.abandon(self.now)
            self.model.abandon(request.waiter, self.now)

    @rule()
    def hear(self) -> None:
        for request in list(self.requests):
            if request.waiter is not None:
                assert request.probe.told() == request.waiter.told
                if request.waiter.told == "granted":
                    request.waiter = None
                elif request.waiter.told == "shed":
                    self.requests.remove(request)

    @invariant()
    def is_alike(self) -> None:
        assert audit(self.gate) == ""
        model, stats = self.model, self.gate.stats(self.now)
        for request in self.requests:
            assert request.waiter is None or request.probe.woken == bool(request.waiter.told)
        assert (stats["in_use"], stats["shared_in_use"]) == (model.in_use, model.shared_in_use)
        assert stats["waiting"] == sum(lane.waiting for lane in model.lanes)
        assert bool(stats["standing"]) == any(any(lane.standing) for lane in model.lanes)
        since = [waiter.since for lane in model.lanes for queue in lane.queues for waiter in queue]
        assert stats["oldest_wait_us"] == self.now - min(since, default=self.now)
        for lane, expected in zip(self.lanes, model.lanes, strict=True):
            seen = lane.stats()
            assert (seen["in_use"], seen["waiting"], seen["max"] or NO_BOUND) == (expected.in_use, expected.waiting, expected.most)


TestGate = Machine.TestCase
TestGate.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
