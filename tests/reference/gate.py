"""The gate as lists that are searched from the front (ext/proxyd_ext/limit/gate.pxd says what it does)."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

CLASSES = 4
NO_BOUND = 1 << 60


@dataclass(eq=False, slots=True)
class Waiter:
    lane: ModelLane
    priority: int
    since: int
    told: str = ""                 # "granted", "shed"


@dataclass(eq=False, slots=True)
class ModelLane:
    in_use: int = 0
    reserved: int = 0
    most: int = NO_BOUND
    pending: int = 0
    queues: list[list[Waiter]] = field(default_factory=lambda: [[] for _ in range(CLASSES)])
    above: list[int | None] = field(default_factory=lambda: [None] * CLASSES)
    standing: list[bool] = field(default_factory=lambda: [False] * CLASSES)

    @property
    def waiting(self) -> int:
        return sum(map(len, self.queues))

    @property
    def shared(self) -> int:
        return max(0, self.in_use - self.reserved)


@dataclass(slots=True)
class ModelGate:
    lanes: list[ModelLane]
    total: int = NO_BOUND
    target: int = 0
    interval: int = 0
    turns: list[list[ModelLane]] = field(default_factory=lambda: [[] for _ in range(CLASSES)])
    owed: list[ModelLane] = field(default_factory=list)

    @property
    def in_use(self) -> int:
        return sum(lane.in_use for lane in self.lanes)

    @property
    def shared_in_use(self) -> int:
        return sum(lane.shared for lane in self.lanes)

    @property
    def shared(self) -> int:
        return self.total - sum(lane.reserved for lane in self.lanes) if self.total != NO_BOUND else NO_BOUND

    def configure(self, total: int, bounds: Sequence[tuple[ModelLane, int, int, int]], target: int, interval: int, now: int) -> None:
        self.total, self.target, self.interval = total or NO_BOUND, target, interval
        for lane in self.lanes:
            lane.reserved, lane.most, lane.pending = 0, NO_BOUND, 0
        for lane, reserved, most, pending in bounds:
            lane.reserved, lane.most, lane.pending = reserved, most or NO_BOUND, pending
        for lane in reversed(self.lanes):      # the gate lists the newest first
            self._settle(lane)
        self._grant(now)

    def has_place(self, lane: ModelLane) -> bool:
        if lane.in_use >= lane.most or self.in_use >= self.total:
            return False
        return lane.in_use < lane.reserved or self.shared_in_use < self.shared

    def enter(self, lane: ModelLane) -> bool:
        if not self.has_place(lane):
            return False
        lane.in_use += 1
        return True

    def wait(self, lane: ModelLane, priority: int, now: int) -> Waiter | str:
        if self.enter(lane):
            return "in"
        if lane.waiting >= lane.pending:
            lower = next((queue for queue in lane.queues[:priority] if queue), None)
            if lower is None or not lane.pending:
                return "full"
            lower[-1].told = "shed"
            self._remove(lower[-1])
        waiter = Waiter(lane, priority, now)
        lane.queues[priority].append(waiter)
        self._settle(lane)
        return waiter

    def abandon(self, waiter: Waiter, now: int) -> None:
        if not waiter.told:
            self._remove(waiter)
            self._settle(waiter.lane)
        elif waiter.told == "granted":
            self.leave(waiter.lane, now)

    def leave(self, lane: ModelLane, now: int) -> None:
        lane.in_use -= 1
        self._settle(lane)
        self._grant(now)

    def _remove(self, waiter: Waiter) -> None:
        lane, number = waiter.lane, waiter.priority
        lane.queues[number].remove(waiter)
        if not lane.queues[number]:
            lane.above[number], lane.standing[number] = None, False

    def _settle(self, lane: ModelLane) -> None:
        """Who could have a place if there were one takes a turn; who has one keeps it."""
        owed = lane.in_use < lane.reserved
        for number, turn in [*enumerate(self.turns), (-1, self.owed)]:
            waits = lane.waiting > 0 if number < 0 else bool(lane.queues[number])
            wanted = waits and lane.in_use < lane.most and owed == (number < 0)
            if wanted and lane not in turn:
                turn.append(lane)
            elif not wanted and lane in turn:
                turn.remove(lane)

    def _grant(self, now: int) -> None:
        while self.in_use < self.total:
            if self.owed:
                lane = self.owed[0]
                number = max(number for number, queue in enumerate(lane.queues) if queue)
            elif self.shared_in_use < self.shared and any(self.turns):
                number = max(number for number, turn in enumerate(self.turns) if turn)
                lane = self.turns[number].pop(0)
            else:
                return
            self._serve(lane, number, now)

    def _serve(self, lane: ModelLane, number: int, now: int) -> None:
        queue = lane.queues[number]
        waited = now - queue[0].since
        if self.target and not lane.standing[number]:
            above = lane.above[number]
            if waited < self.target:
                lane.above[number] = None
            elif above is None:
                lane.above[number] = now
            else:
                lane.standing[number] = now - above >= self.interval
        while lane.standing[number] and len(queue) > 1 and now - queue[0].since >= self.target:
            queue[0].told = "shed"
            self._remove(queue[0])
        queue[0].told = "granted"
        self._remove(queue[0])
        lane.in_use += 1
        self._settle(lane)
