"""The supermarket model: Poisson arrivals, exponential service, first come first served at each server.

Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001): with n → ∞ a request is in the system for
T = Σ λ^((dⁱ - d)/(d - 1)) mean service times. The native pickers must land within 5 % of it.
"""

from __future__ import annotations

import random
import statistics

import pytest

from proxyd_ext.snapshot.spec import Balance
from tests.support.virtual import plain_pool, simulate

CHOICES: dict[Balance, int] = {"random": 1, "p2c": 2}


def theory(load: float, choices: int) -> float:
    if choices == 1:
        return 1 / (1 - load)
    total, i = 0.0, 1
    while True:
        term = load ** ((choices**i - choices) / (choices - 1))
        if term < 1e-12:
            return total
        total += term
        i += 1


def mean_time(balance: Balance, servers: int, load: float, requests: int, weights_seed: int = 1) -> float:
    """Mean time in the system, in service times, over the later three quarters of so many requests."""
    draw = random.Random(weights_seed)
    pool = plain_pool(servers, balance)
    free_at = [0.0] * servers
    now = 0.0
    arrivals = []
    for _ in range(requests):
        now += draw.expovariate(load * servers)
        arrivals.append(now)

    def take(member: int, at: float) -> float:
        free_at[member] = max(free_at[member], at) + draw.expovariate(1.0)
        return free_at[member]

    outcomes = simulate(pool, arrivals, take, draw)
    return statistics.fmean(outcome.seconds for outcome in outcomes[requests // 4 :])


@pytest.mark.parametrize(("choices", "table"), [(1, (2.0, 3.3333, 5.0, 10.0, 20.0)), (2, (1.2657, 1.6145, 1.9474, 2.6141, 3.3830))])
def test_the_formula_gives_the_published_table(choices: int, table: tuple[float, ...]) -> None:
    for load, published in zip((0.5, 0.7, 0.8, 0.9, 0.95), table, strict=True):
        assert theory(load, choices) == pytest.approx(published, abs=6e-5)


@pytest.mark.parametrize("load", [0.5, 0.7])
def test_one_random_choice(load: float) -> None:
    """Independent queues. Loads above would need runs too long: times at a server stay alike for 1/(1 - √λ)² service times."""
    assert mean_time("random", 200, load, 200_000) == pytest.approx(theory(load, 1), rel=0.05)


@pytest.mark.parametrize(("load", "requests"), [(0.5, 60_000), (0.7, 100_000), (0.8, 100_000), (0.9, 150_000), (0.95, 250_000)])
def test_the_better_of_two(load: float, requests: int) -> None:
    assert mean_time("p2c", 500, load, requests) == pytest.approx(theory(load, 2), rel=0.05)


def test_the_least_loaded_of_all_waits_least() -> None:
    """λ = 0.9, 200 servers: least_conn finds an idle one nearly always, and is bounded below by one service time."""
    assert 0.97 < mean_time("least_conn", 200, 0.9, 60_000) < 1.1
