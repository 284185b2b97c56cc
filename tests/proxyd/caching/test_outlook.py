from __future__ import annotations

import pytest

from proxyd.caching.outlook import points, ratio_at, sentence, size_text

GIB = 1 << 30
CURVE = [(2 * GIB, 1_000, 930), (GIB // 2, 1_000, 700), (GIB, 1_000, 880), (4 * GIB, 0, 0)]


def test_points_are_ordered_and_scaled() -> None:
    assert [(point.scale, point.hit_ratio) for point in points(CURVE, GIB)] == [(0.5, 0.7), (1.0, 0.88), (2.0, 0.93)]


@pytest.mark.parametrize(("size", "ratio"), [(GIB, 0.88), (1.5 * GIB, 0.905), (GIB / 2, 0.7), (GIB / 4, None), (3 * GIB, None)])
def test_between_points_and_outside_of_them(size: float, ratio: float | None) -> None:
    found = ratio_at(points(CURVE, GIB), size)
    assert found == (None if ratio is None else pytest.approx(ratio))


def test_one_sentence() -> None:
    assert sentence(points(CURVE, GIB), GIB) == "with 2 GiB instead of 1 GiB the hit ratio would be 93.0% instead of 88.0%"
    flat = [(GIB // 2, 1_000, 880), (GIB, 1_000, 880), (2 * GIB, 1_000, 880)]
    assert sentence(points(flat, GIB), GIB) == "half as much would do: with 512 MiB instead of 1 GiB the hit ratio would stay 88.0%"
    full = [(GIB // 2, 1_000, 700), (GIB, 1_000, 880), (2 * GIB, 1_000, 880)]
    assert sentence(points(full, GIB), GIB) == "with 512 MiB instead of 1 GiB the hit ratio would be 70.0% instead of 88.0%"


@pytest.mark.parametrize("curve", [[], [(GIB, 0, 0)], [(GIB, 150, 100), (2 * GIB, 150, 120)], [(GIB, 1_000, 880)]])
def test_too_little_was_seen(curve: list[tuple[int, int, int]]) -> None:
    assert sentence(points(curve, GIB), GIB) == ""


@pytest.mark.parametrize(("size", "text"), [
    (0, "0 B"), (1023, "1023 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (1023 * 1024, "1023 KiB"), (256 << 20, "256 MiB"),
    (3 * GIB // 2, "1.5 GiB"), (5000 * GIB, "5000 GiB"),
])
def test_sizes_in_words(size: int, text: str) -> None:
    assert size_text(size) == text
