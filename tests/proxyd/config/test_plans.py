from __future__ import annotations

import pytest

from proxyd.config import load_text
from proxyd.config.canonical import canonical_text
from proxyd.config.plans import Quota, UsagePlan
from tests.support.config import config_of, first_finding

KEYS = "policies: {p: {auth: {api_key: {keys: {a: {sha256: " + "a" * 64 + ", plan: gold}}}}}}\n"
HEAD = "listen: ':1'\nroutes: [{use: p, respond: 200}]\n" + KEYS


def plan(text: str) -> UsagePlan:
    return config_of(f"{HEAD}usage: /var/lib/u\nplans: {{gold: {text}}}\n").plans["gold"]


def test_plans() -> None:
    full = plan("{rate: 100/s, burst: 200, quota: 10000/day}")
    assert full.rate is not None
    assert (full.rate.key, full.burst, full.quota) == ((100, 1), 200, Quota(10_000, "day"))
    assert plan("{quota: 5/week}").quota == Quota(5, "week")
    assert plan("{quota: 1000000/month}").quota == Quota(1_000_000, "month")
    assert plan("{rate: 1/s}").quota is None


def test_they_come_back_from_the_canonical_form() -> None:
    config = config_of(f"{HEAD}usage: /var/lib/u\nplans: {{gold: {{rate: 100/m, burst: 5, quota: 7/week}}}}\n")
    assert config_of(canonical_text(config, secrets=True)) == config


@pytest.mark.parametrize(
    ("text", "expected", "help"),
    [
        ("{}", ("PXD-088", 15), "rate"),
        ("{burst: 5}", ("PXD-088", 15), "rate"),
        ("{burst: 5, quota: 1/day}", ("PXD-088", 16), "rate"),
        ("{quota: 10000}", ("PXD-088", 23), "10000/day"),
        ("{quota: 100/d}", ("PXD-088", 23), "did you mean `100/day`"),
        ("{quota: 100/months}", ("PXD-088", 23), "did you mean `100/month`"),
        ("{quota: 100/h}", ("PXD-088", 23), "`rate`"),
        ("{quota: 100/year}", ("PXD-088", 23), "day, week, month"),
        ("{quota: -1/day}", ("PXD-088", 23), "day, week, month"),
        ("{quota: 0/day}", ("PXD-033", 23), "allowed"),
        ("{quota: [1/day]}", ("PXD-030", 23), ""),
        ("{rate: 10}", ("PXD-031", 22), ""),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int], help: str) -> None:
    whole = f"{HEAD}plans: {{gold: {text}}}\n"
    assert first_finding(whole) == (expected[0], 4, expected[1])
    (found,) = load_text(whole, env={}).diagnostics
    assert help in found.message + found.help


@pytest.mark.parametrize(("text", "expected"), [("usage.json", ("PXD-038", 8)), ("{file: /a, every: 0s}", ("PXD-033", 26))])
def test_mistakes_about_usage(text: str, expected: tuple[str, int]) -> None:
    assert first_finding(f"{HEAD}plans: {{gold: {{quota: 1/day}}}}\nusage: {text}\n") == (expected[0], 5, expected[1])
