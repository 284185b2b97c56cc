from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from proxyd.limits.sharing import ShareCounters
from proxyd.metrics.families import Numbers
from proxyd.metrics.limits import limit_families
from proxyd.metrics.ratchet import Ratchet
from proxyd.state import LimitEntries, ShareEntry

RATE = {
    "keys": 12, "capacity": 1_000, "memory_bytes": 4_096, "evictions": 1, "passed": 100, "delayed": 0, "refused": 7, "delayed_dry_run": 0,
    "refused_dry_run": 2, "lease_wants_lost": 0, "on_local_share": 0,
}


def handle(stats: dict[str, int], **more: Any) -> Any:
    return SimpleNamespace(stats=lambda *_: stats, **more)


def samples(entries: LimitEntries, numbers: Ratchet) -> dict[str, float]:
    """`name{value,value}` of the labels in their order -> value."""
    return {
        f"{family.name.removeprefix('proxyd_')}{{{','.join(labels)}}}": value
        for family in limit_families(entries, numbers)
        if isinstance(family, Numbers)
        for labels, value in family.series.items()
    }


def test_nothing_is_limited() -> None:
    families = list(limit_families(LimitEntries(), Ratchet()))
    assert sum(len(family.series) for family in families) == 0
    names = {family.name for family in families}
    assert len(names) == len(families)
    assert {f"proxyd_{name}_requests_total" for name in ("ratelimit", "concurrency", "auth")} | {"proxyd_overload_shed_below"} <= names


def test_rates() -> None:
    found = samples(LimitEntries(rates={"per-ip": handle(RATE)}), Ratchet())
    assert found["ratelimit_requests_total{per-ip,passed}"] == 100
    assert found["ratelimit_requests_total{per-ip,refused_dry_run}"] == 2
    assert (found["ratelimit_keys{per-ip}"], found["ratelimit_evictions_total{per-ip}"]) == (12, 1)


def test_a_policy_that_is_redefined_counts_on() -> None:
    numbers, first, second = Ratchet(), handle(RATE), handle(RATE | {"passed": 120, "refused": 0})
    assert samples(LimitEntries(rates={"a": first}), numbers)["ratelimit_requests_total{a,passed}"] == 100
    found = samples(LimitEntries(rates={"a": second}), numbers)
    assert (found["ratelimit_requests_total{a,passed}"], found["ratelimit_requests_total{a,refused}"]) == (220, 7)
    assert samples(LimitEntries(rates={"a": second}), numbers) == found


def test_places() -> None:
    lane = handle({"reserved": 50, "max": 200, "in_use": 12, "waiting": 3, "admitted": 9, "queued": 4, "full": 0, "timeout": 1, "shed": 2})
    gate = handle({"total": 1_000, "standing": 1})
    overload: Any = SimpleNamespace(shed_below=2)
    found = samples(LimitEntries(lanes={"api": lane}, gate=gate, overload=overload), Ratchet())
    assert (found["concurrency_limit{api,reserved}"], found["concurrency_limit{api,max}"]) == (50, 200)
    assert found["concurrency_in_flight{api}"] == 12
    assert (found["concurrency_requests_total{api,queued}"], found["concurrency_waiting{api}"]) == (4, 3)
    assert (found["concurrency_places{}"], found["concurrency_shedding{}"], found["overload_shed_below{}"]) == (1_000, 1, 2)


def test_limits_by_key_bans_and_the_gateway() -> None:
    entries = LimitEntries(
        inflight={"in": handle({"passed": 5, "refused": 1, "refused_dry_run": 0, "table_full": 0, "in_flight": 3, "keys": 2})},
        bans={"out": handle({"banned": 2, "bans": 3, "refused": 70, "evictions": 0})},
        verdicts={"sso": handle({"allowed": 9, "denied": 2, "missing": 1, "failed": 0, "asked": 4, "entries": 4, "evictions": 0})},
        hooks={"py": handle({
            "asked_request": 6, "asked_response": 5, "changed": 1, "replied": 2, "failed": 0, "timeout": 1, "passed_open": 1,
            "refused_closed": 0,
        }, failing=True)},
    )
    found = samples(entries, Ratchet())
    assert (found["inflight_requests_total{in,refused}"], found["inflight_current{in}"]) == (1, 3)
    assert (found["bans_active{out}"], found["bans_total{out}"], found["bans_refused_total{out}"]) == (2, 3, 70)
    assert (found["auth_requests_total{sso,denied}"], found["auth_asked_total{sso}"], found["auth_verdicts{sso}"]) == (2, 4, 4)
    assert (found["filter_asked_total{py,response}"], found["filter_results_total{py,replied}"], found["filter_failing{py}"]) == (5, 2, 1)


def test_the_shared_store() -> None:
    counters = ShareCounters(exchanges=10, failures=3, tokens_used=4, tokens_asked=20, tokens_given=15, times_local=1)
    found = samples(LimitEntries(shared=ShareEntry(3, True, 5, counters)), Ratchet())
    assert (found["ratelimit_shared_nodes{}"], found["ratelimit_shared_local{}"], found["ratelimit_shared_waiting{}"]) == (3, 1, 5)
    assert (found["ratelimit_shared_exchanges_total{done}"], found["ratelimit_shared_exchanges_total{failed}"]) == (7, 3)
    assert (found["ratelimit_shared_tokens_total{given}"], found["ratelimit_shared_away_total{}"]) == (15, 1)
