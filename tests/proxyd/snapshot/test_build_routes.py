from __future__ import annotations

import pytest

from proxyd.snapshot.build_routes import build_retry
from proxyd_ext.snapshot.spec import RetrySpec
from tests.support.config import upstream_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", RetrySpec(backoff_ms=25, retry_after_max_ms=2_000)),
        ("none", RetrySpec(attempts=0, backoff_ms=25, retry_after_max_ms=2_000)),
        (
            '{attempts: 3, when: [timeout, "503", 429-431], backoff: {base: 2s, factor: 1.5, max: 8s, jitter: none}}',
            RetrySpec(
                3, False, False, True, ((503, 503), (429, 431)), backoff_ms=2_000, factor_percent=150, backoff_max_ms=8_000, jitter=False,
                retry_after_max_ms=2_000,
            ),
        ),
        (
            "{when: connect_failure, backoff: none, retry_after: none, idempotency_key: true, budget: {percent: 10%, min: 1}}",
            RetrySpec(
                2, True, False, idempotency_key=True, backoff_ms=0, factor_percent=100, backoff_max_ms=0, jitter=False, budget_percent=10,
                budget_min=1,
            ),
        ),
    ],
)
def test_retries(text: str, expected: RetrySpec) -> None:
    assert build_retry(upstream_of(f"retry: {text}").retry) == expected
