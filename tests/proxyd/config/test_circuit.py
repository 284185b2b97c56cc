from __future__ import annotations

import pytest

from proxyd.config.model import Adaptive
from tests.support.config import first_finding, upstream_of


def test_everything_is_off_by_default() -> None:
    circuit = upstream_of("").circuit
    assert (circuit.max_requests, circuit.max_pending, circuit.error_ratio, circuit.adaptive) == (0, 0, None, None)


def test_in_all_its_forms() -> None:
    circuit = upstream_of("circuit: {max_requests: 10, max_pending: none, queue_timeout: 2s, error_ratio: 40%, adaptive: on}").circuit
    assert (circuit.max_requests, circuit.max_pending, circuit.queue_timeout, circuit.error_ratio) == (10, 0, 2000, 40)
    assert circuit.adaptive == Adaptive()
    assert upstream_of("circuit: {adaptive: none}").circuit.adaptive is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("circuit: on", ("PXD-030", 10)),
        ("circuit: {max_requests: -1}", ("PXD-033", 25)),
        ("circuit: {queue_timeout: 2}", ("PXD-031", 26)),
        ("circuit: {error_ratio: 0.5}", ("PXD-031", 24)),
        ("circuit: {probes: 0}", ("PXD-033", 19)),
        ("circuit: {adaptive: {min: 20, max: 10}}", ("PXD-039", 36)),
        ("circuit: {adaptive: {min: 2000}}", ("PXD-039", 27)),
        ("circuit: {adaptive: {tolerance: 0.5}}", ("PXD-033", 33)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    found = first_finding(f"upstreams: {{app: {{servers: 'a:1',\n{text}}}}}\nlisten: :1\nto: app\n")
    assert found == (expected[0], 2, expected[1])
