"""Storms of flows on two engines, while the main thread publishes, takes servers out and has flows reviewed, and reads counters: all that
engines share about flows, and all that they are told of them. What arrives is checked as in tests/ext/l4/test_storm.py, whose storm it is.
"""
from __future__ import annotations

import os
import sys
from collections import Counter

STORMS = 4


def main() -> None:
    from tests.ext.l4.test_storm import one_storm

    told = sum((one_storm("threads", seed) for seed in range(1, STORMS + 1)), start=Counter[str]())
    print(f"{STORMS} storms, {told['bytes up'] + told['bytes down']} bytes, {told['answers']} datagrams")


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    main()
