"""Places of routes and requests in flight by key: threads that come, wait, give up and leave while bounds change and counts are read."""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from random import Random

from proxyd_ext.limit.gate import Gate, Lane, audit
from proxyd_ext.limit.inflight import Inflight
from proxyd_ext.limit.probe import Churn, InflightChurn

WORKERS = 4
ROUNDS = 60_000


def places(target_us: int) -> int:
    gate, random = Gate(), Random(target_us)
    lanes = [Lane(gate, str(number)) for number in range(4)]
    churn = Churn(lanes, [9] * 4, 20, workers=WORKERS)
    gate.configure(20, [(lane, 3, 9, 5, 0) for lane in lanes], target_us=target_us, interval_us=100)
    with ThreadPoolExecutor(WORKERS) as threads:
        working = [threads.submit(churn.run, worker, ROUNDS) for worker in range(WORKERS)]
        while not all(worker.done() for worker in working):
            bounds = [(lane, random.randint(0, 3), random.randint(3, 9), 5, 0) for lane in lanes]
            gate.configure(random.randint(12, 20), bounds, target_us=target_us, interval_us=100)
            gate.stats(), [lane.stats() for lane in lanes]
        assert all(worker.result() for worker in working), "somebody waits for ever"
    counts = churn.counts()
    assert (counts["over"], counts["inside"], audit(gate)) == (0, 0, ""), counts
    assert counts["woken"] == counts["granted"] + counts["shed"] + counts["too_late"], counts
    return counts["granted"]


def keys(capacity: int, number: int, most: int) -> int:
    table = Inflight("keys", capacity=capacity)
    churn = InflightChurn(table, range(1, number + 1), most)
    with ThreadPoolExecutor(WORKERS) as threads:
        taken = sum(done["taken"] for done in threads.map(lambda seed: churn.run(ROUNDS, seed), range(WORKERS)))
    assert (churn.overs, table.stats()["keys"]) == (0, 0)
    return taken


def main() -> None:
    granted = places(0) + places(50)
    taken = keys(9, 1, 3) + keys(8, 36, 1) + keys(64, 64, 3)
    print(f"{granted} places granted, {taken} requests counted")


if __name__ == "__main__":
    main()
