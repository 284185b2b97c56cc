"""What each compression level costs and saves, with the libraries that proxyd/compress uses: `python bench/compression.py FILE…`

Every file is compressed whole, as a stored answer is. Throughput is CPU time of the thread, best of three, so other work on the machine
matters little; read the ratios between levels.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import brotli
import zstandard

from proxyd.compress.codec import gzip_encoder

LEVELS = {"gzip": (1, 4, 5, 6, 7, 9), "br": (3, 4, 5, 6, 7, 9, 11), "zstd": (3, 6, 9, 12, 15, 19)}


def one_shot(encoding: str, level: int) -> Callable[[bytes], bytes]:
    def gzip(body: bytes) -> bytes:
        encoder = gzip_encoder(level)
        return encoder.compress(body) + encoder.flush()

    def br(body: bytes) -> bytes:
        return bytes(brotli.compress(body, quality=level))

    def zstd(body: bytes) -> bytes:
        return zstandard.ZstdCompressor(level=level).compress(body)

    return {"gzip": gzip, "br": br, "zstd": zstd}[encoding]


def measured(bodies: list[bytes], compress: Callable[[bytes], bytes]) -> tuple[int, float]:
    """(bytes that came out, seconds of CPU), best of three."""
    best, size = float("inf"), 0
    for _ in range(3):
        began = time.thread_time()
        size = sum(len(compress(body)) for body in bodies)
        best = min(best, time.thread_time() - began)
    return size, best


def rows(bodies: list[bytes]) -> Iterator[str]:
    total = sum(map(len, bodies))
    for encoding, levels in LEVELS.items():
        for level in levels:
            size, seconds = measured(bodies, one_shot(encoding, level))
            percent, speed, each_ms = size / total * 100, total / seconds / 2**20, seconds / len(bodies) * 1000
            yield f"| {encoding} {level} | {percent:.1f} % | {speed:,.0f} | {each_ms:.2f} |"


def main(arguments: list[str]) -> int:
    p = argparse.ArgumentParser(prog="bench/compression.py", description=__doc__.split(":")[0] if __doc__ else None)
    p.add_argument("files", type=Path, nargs="+", metavar="FILE")
    bodies = [path.read_bytes() for path in p.parse_args(arguments).files]
    sizes = sorted(map(len, bodies))
    print(f"{len(bodies)} files, {sum(sizes):,} bytes, median {sizes[len(sizes) // 2]:,}, largest {sizes[-1]:,}\n")
    print("| level | size left | MiB/s | ms a file |\n|---|--:|--:|--:|")
    for row in rows(bodies):
        print(row, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
