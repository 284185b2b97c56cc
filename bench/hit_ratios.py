"""Hit ratios of the cache's policy beside published ones: `python bench/hit_ratios.py --help`.

Generators are pinned (seeded, see `proxyd_ext.cache.replay`), so every run prints the same. Published figures are in brackets: those of
go-cache-benchmark and of Pingora's TinyUFO, in whose settings the tables are. An LRU in plain Python runs over the very same requests as a
control, and theory says of it what it says (Che's approximation, for the exact sampler). TinyUFO and W-TinyLFU are not run, only quoted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from proxyd_ext.cache.replay import Replay, Zipf
from tests.reference.lru import Lru, che
from tests.reference.zipf import cubic_sizes, grouped


@dataclass(frozen=True, slots=True)
class Row:
    part: float                # of the items that there is room for
    lru: float | None          # published hit ratios, per cent
    best: str                  # published ones of others
    s3fifo: float | None = None


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    items: int
    theta: float
    requests: int
    gray: bool
    rows: tuple[Row, ...]


TABLES = (
    Table("go-cache-benchmark, YCSB's sampler", 500_000, 0.99, 7_500_000, True, (
        Row(0.001, 36.59, "SIEVE 47.42, TinyLFU 47.37, 2Q 45.49", 47.16),
        Row(0.01, 55.37, "SIEVE 63.33, TinyLFU 63.94, 2Q 61.99", 63.59),
        Row(0.1, None, ""),
    )),
    Table("the same, exact sampler", 500_000, 0.99, 7_500_000, False, (
        Row(0.001, 35.50, "SIEVE 46.62", 46.34), Row(0.01, 54.57, "SIEVE 62.73", 62.99), Row(0.1, 75.37, "SIEVE 79.32", 79.57),
    )),
    Table("TinyUFO's benchmark, theta 1", 10_000, 1.0, 5_000_000, False, (
        Row(0.005, 31.08, "TinyUFO 45.15, moka 45.68", 43.73), Row(0.01, 39.17, "TinyUFO 52.30, moka 50.80", 50.65),
        Row(0.05, 58.71, "TinyUFO 68.79, moka 66.92", 66.86), Row(0.1, 67.59, "TinyUFO 75.92, moka 74.28", 73.84),
        Row(0.25, 79.94, "TinyUFO 85.28, moka 84.35", 83.34),
    )),
    Table("TinyUFO's benchmark, other laws", 10_000, 0.9, 5_000_000, False, (Row(0.01, 26.23, "TinyUFO 40.06"),)),
    Table("TinyUFO's benchmark, other laws", 10_000, 1.1, 5_000_000, False, (Row(0.01, 52.97, "TinyUFO 64.24"),)),
    Table("TinyUFO's benchmark, other laws", 10_000, 1.5, 5_000_000, False, (Row(0.01, 89.86, "TinyUFO 92.94"),)),
)


def beside(found: float, published: float | None) -> str:
    return f"{found:.2f}" + (f" ({published:.2f})" if published is not None else "")


def s3fifo(table: Table, capacity: int, requests: int, shards: int, seed: int) -> tuple[float, float]:
    """The hit ratio, and nanoseconds a request with the sampler's own."""
    replay = Replay(table.items, capacity, shards=shards)
    begun = time.perf_counter()
    replay.draw(Zipf(table.items, table.theta, seed, gray=table.gray), requests)
    return 100 * replay.hits / requests, (time.perf_counter() - begun) / requests * 1e9


def print_table(table: Table, requests: int, seed: int) -> None:
    print(f"\n{table.title}: {table.items:,} items, theta {table.theta}, {requests:,} requests\n")
    print("| room for | LRU | Che's LRU | S3-FIFO | 16 shards | ns | others, published |")
    print("|--:|--:|--:|--:|--:|--:|---|")
    shares = grouped(table.items, table.theta)
    for row in table.rows:
        capacity = round(table.items * row.part)
        lru = 100 * Lru(capacity).ask(Zipf(table.items, table.theta, seed, gray=table.gray).take(requests)) / requests
        theory = "" if table.gray else f"{100 * che(shares, capacity):.2f}"
        one, ns = s3fifo(table, capacity, requests, 1, seed)
        many, _ = s3fifo(table, capacity, requests, 16, seed)
        print(f"| {row.part:.1%} | {beside(lru, row.lru)} | {theory} | {beside(one, row.s3fifo)} | {many:.2f} | {ns:.0f} | {row.best} |")


def print_sizes(requests: int, seed: int) -> None:
    items, theta = 100_000, 0.9
    sizes = cubic_sizes(items)
    print(f"\nObjects of 100 B to 10 MB, sizes independent of popularity: {items:,} items, theta {theta}, {requests:,} requests\n")
    print("| room for, of the bytes | hits by objects | hits by bytes |\n|--:|--:|--:|")
    for part in (0.003, 0.01, 0.1):
        replay = Replay(items, int(sum(sizes) * part), sizes=sizes)
        replay.draw(Zipf(items, theta, seed), requests)
        print(f"| {part:.1%} | {100 * replay.hits / requests:.2f} | {100 * replay.hit_bytes / replay.bytes:.2f} |")


def print_curve(requests: int, seed: int) -> None:
    print(f"\nThe live curve: its estimate, beside caches of those sizes, over {requests:,} requests behind as many that fill them\n")
    print("| items, theta, room | rate | 1/4 | 1/2 | 1 | 2 | 4 |\n|---|--:|--:|--:|--:|--:|--:|")
    cubic = cubic_sizes(100_000)
    for items, theta, capacity, sizes in (
        (500_000, 0.99, 5_000, None), (500_000, 0.99, 50_000, None), (500_000, 0.7, 50_000, None), (100_000, 0.99, 500, None),
        (100_000, 0.9, sum(cubic) // 100, cubic), (100_000, 0.9, sum(cubic) // 10, cubic),
    ):
        whole = []
        for quarters in (1, 2, 8, 16, 4):
            replay = Replay(items, capacity * quarters // 4, sizes=sizes, curve=quarters == 4)
            zipf = Zipf(items, theta, seed)
            replay.draw(zipf, requests)
            replay.forget()
            if quarters == 4:
                replay.resize(capacity)
                replay.points()
            replay.draw(zipf, requests)
            whole.append(100 * replay.hits / requests)
        whole.insert(2, whole.pop())
        cells = [f"{100 * hits / asked:.2f} ({known:.2f})" for (_, asked, hits), known in zip(replay.points(), whole, strict=True)]
        kind = "" if sizes is None else ", 100 B to 10 MB"
        print(f"| {items:,}, {theta}, {capacity / (items if sizes is None else sum(sizes)):.1%}{kind} | {replay.sampled[0]:.4f} | "
              + " | ".join(cells) + " |")


def main(arguments: Sequence[str]) -> int:
    p = argparse.ArgumentParser(prog="bench/hit_ratios.py", description="Hit ratios of the cache's policy beside published ones.")
    p.add_argument("--part", type=float, default=1.0, help="of the published number of requests (default 1; 0.1 for a look)")
    p.add_argument("--seed", type=int, default=1)
    options = p.parse_args(arguments)
    for table in TABLES:
        print_table(table, round(table.requests * options.part), options.seed)
    print_sizes(round(3_000_000 * options.part), options.seed)
    print_curve(round(1_500_000 * options.part), options.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
