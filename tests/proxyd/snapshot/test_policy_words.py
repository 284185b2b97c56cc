from __future__ import annotations

import pytest

from proxyd.config.model import Policy
from proxyd.snapshot.policy_words import rule_text, seconds_text, size_text
from tests.support.config import config_of


@pytest.mark.parametrize(("seconds", "text"), [
    (0.0, "0 ms"), (0.05, "50 ms"), (1.0, "1 s"), (1.25, "1.2 s"), (9.99, "10 s"), (119.0, "119 s"),
    (150.0, "2.5 min"), (599.0, "10 min"), (86_400.0, "24 h"), (259_200.0, "3 d"),
])
def test_times(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_sizes() -> None:
    assert [size_text(size) for size in (10, 1 << 10, 1_500_000, 3 << 30)] == ["10 B", "1 KiB", "1.43 MiB", "3 GiB"]


def policy(text: str) -> Policy:
    limits = "limits: {redis: 'redis://a'}"
    return config_of(f"{{listen: ':1', to: 'a:1', {limits}, defaults: {{use: p}}, policies: {{p: {text}}}}}").policies["p"]


@pytest.mark.parametrize(("text", "words"), [
    ("{rate_limit: 20/s}", "20/s, by client.ip"),
    ("{rate_limit: {rate: 20/s, burst: 40, key: [host, path], dry_run: true}}", "20/s, burst 40, by host and path, dry run"),
    ("{rate_limit: {rate: 5/m, burst: 4, mode: delay}}", "5/m, burst 4, held instead of refused, by client.ip"),
    ("{rate_limit: {rate: 5/m, burst: 4, mode: delay, delay: 2}}", "5/m, burst 4, held beyond 2, by client.ip"),
    ("{rate_limit: {rate: 20/s, scope: cluster}}", "20/s, of all proxies together, by client.ip"),
    ("{concurrency: {max: 3, key: 'header:X-A'}}", "3 in flight, by header:X-A"),
    ("{ban: {after: 5, within: 1m, for: 1h}}", "5 refusals in 1m ban for 1h"),
    ("{priority: high}", ""),
])
def test_rules(text: str, words: str) -> None:
    assert rule_text(policy(text)) == words
