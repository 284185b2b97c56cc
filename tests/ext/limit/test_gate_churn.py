"""The gate under threads: never more than the bounds, everybody told once and woken once, nobody forgotten."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from proxyd_ext.limit.gate import Gate, Lane, audit
from proxyd_ext.limit.probe import Churn

WORKERS, ROUNDS = 4, 600_000


def check(gate: Gate, churn: Churn, ended: list[bool]) -> None:
    counts = churn.counts()
    assert ended == [True] * WORKERS, "somebody waits for ever"
    assert (counts["over"], counts["inside"]) == (0, 0)
    assert counts["woken"] == counts["granted"] + counts["shed"] + counts["too_late"]
    assert min(counts["entered"], counts["granted"], counts["shed"], counts["gave_up"]) > 0, counts
    stats = gate.stats()
    assert (stats["in_use"], stats["shared_in_use"], stats["waiting"]) == (0, 0, 0)
    assert audit(gate) == ""


@pytest.mark.parametrize("target_us", [0, 20], ids=["patient", "sheds"])
@pytest.mark.parametrize("scale", [1, 4], ids=["scarce", "plenty"])
def test_bounds_that_stay(target_us: int, scale: int) -> None:
    gate, total = Gate(), 12 * scale
    lanes = [Lane(gate, str(number)) for number in range(4)]
    bounds = [(4 * scale, 4 * scale, 8), (2 * scale, 6 * scale, 8), (0, 0, 20), (0, 3 * scale, 3)]
    gate.configure(total, [(lane, *bound, 0) for lane, bound in zip(lanes, bounds, strict=True)], target_us=target_us, interval_us=100)
    churn = Churn(lanes, [most for _, most, _ in bounds], total, workers=WORKERS, seed=target_us)
    with ThreadPoolExecutor(WORKERS) as threads:
        check(gate, churn, list(threads.map(lambda worker: churn.run(worker, ROUNDS), range(WORKERS))))


def test_bounds_that_change() -> None:
    """New bounds all the time, up to those that are checked; the last ones leave nobody waiting."""
    gate, random = Gate(), Random(5)
    lanes = [Lane(gate, str(number)) for number in range(4)]
    churn = Churn(lanes, [9] * 4, 20, workers=WORKERS, seed=5)
    gate.configure(20, [(lane, 2, 9, 10, 0) for lane in lanes], target_us=50, interval_us=100)
    with ThreadPoolExecutor(WORKERS) as threads:
        working = [threads.submit(churn.run, worker, ROUNDS) for worker in range(WORKERS)]
        while not all(worker.done() for worker in working):
            reserved = [random.randint(0, 4) for _ in lanes]
            bounds = [
                (lane, own, random.randint(max(own, 1), 9), random.randint(1, 10), 0) for lane, own in zip(lanes, reserved, strict=True)
            ]
            gate.configure(random.randint(max(sum(reserved), 1), 20), bounds, target_us=random.choice([0, 50]), interval_us=100)
            gate.stats()
        check(gate, churn, [worker.result() for worker in working])
