"""What counts, and what the ratios are made of."""

from __future__ import annotations

import json

import pytest
from harness.load import parse_report
from harness.model import Environment, Load, Placement, Run, Workload, WorkloadResult
from harness.report import as_json, markdown
from harness.rounds import origin_faults
from harness.summary import Ratio, summarise
from harness.templates import Site, fill, haproxy, nginx, proxyd, varnish, varnish_options
from harness.workloads import WORKLOADS, select

SITE = Site(18000, 18001, "/run/x", (9001, 9002), 20000)
S = Placement("S", frozenset({1}), frozenset({1}))
ROLES = {name: name for name in ("floor", "nginx", "haproxy")}
ROLES |= {"nginx-leanid": "lesser", "proxyd-1": "proxyd", "nginx (control)": "control"}


def run(contestant: str, number: int, cpu_us: float, faults: tuple[str, ...] = ()) -> Run:
    load = Load(1000, 1_000_000, 0, 100, 200, 300, {}, 0.1)
    return Run(contestant, number, cpu_us / 1000, load, 0, 0, 0, faults)


def result(*runs: Run, discarded: dict[int, str] | None = None) -> WorkloadResult:
    return WorkloadResult(WORKLOADS[0], S, list(runs), discarded=discarded or {})


def test_ratios_are_paired_within_a_round() -> None:
    # every round is twice as slow as the one before it; a ratio of medians over different rounds would show that instead
    runs = [run("nginx", n, 20 * 2**n) for n in range(3)] + [run("floor", n, 10 * 2**n) for n in (1, 2)]
    table = summarise(result(*runs), ROLES)
    row = next(r for r in table.rows if r.contestant == "nginx")
    assert row.to_floor == Ratio(2.0, 2.0, 2.0)


def test_a_run_with_errors_and_a_noisy_round_do_not_count() -> None:
    runs = [run("nginx", 0, 1.0, ("3 timeout errors",)), run("nginx", 1, 99.0), run("nginx", 2, 20.0)]
    row = summarise(result(*runs, discarded={1: "steal"}), ROLES).rows[0]
    assert (row.cpu_us, row.rounds, row.faults) == (20.0, 1, ("3 timeout errors",))


def test_the_best_peer_is_neither_the_control_nor_one_that_does_less() -> None:
    runs = [run("nginx", 0, 18), run("haproxy", 0, 17), run("nginx-leanid", 0, 12), run("nginx (control)", 0, 15), run("proxyd-1", 0, 13.6)]
    table = summarise(result(*runs), ROLES)
    assert table.best_peer == "haproxy"
    proxyd_row = next(r for r in table.rows if r.contestant == "proxyd-1")
    assert proxyd_row.to_peer is not None
    assert proxyd_row.to_peer.median == pytest.approx(0.8)
    assert table.control is not None
    assert table.control.median == pytest.approx(15 / 18)


def test_the_report_says_that_a_run_was_invalid_and_that_the_control_is_off() -> None:
    runs = [run("nginx", 0, 18), run("nginx (control)", 0, 20), run("proxyd-1", 0, 1, ("5 status errors",))]
    facts = {"time": "t", "cpu": "c", "cpus": 2, "kernel": "k", "congestion_control": "reno", "programs": {"nginx": "1"}}
    environment = Environment(facts, ("bench/run.py",))
    text = markdown(environment, [result(*runs)], ROLES)
    assert "| proxyd-1 | invalid |" in text
    assert "proxyd-1: INVALID runs left out: 5 status errors" in text
    assert "not for publishing" in text
    assert "congestion control **reno**" in text
    document = json.loads(as_json(environment, [result(*runs)], ROLES))
    assert len(document["results"][0]["runs"]) == 3


@pytest.mark.parametrize(
    ("asked", "opened", "words"),
    [(1000, 10, ""), (1064, 0, ""), (900, 0, "the origin 900"), (2000, 0, "the origin 2000"), (1000, 999, "not kept alive")],
)
def test_the_origin_must_have_seen_what_wrk_counted(asked: int, opened: int, words: str) -> None:
    faults = "; ".join(origin_faults(Workload("w", "w"), 1000, asked, opened))
    assert words in faults
    assert bool(words) == bool(faults)


def test_an_answer_from_memory_must_not_ask_the_origin() -> None:
    assert origin_faults(Workload("w", "w", from_memory=True), 1000, 1, 0)
    assert not origin_faults(Workload("w", "w", from_memory=True), 1000, 0, 0)


def test_a_hit_must_not_ask_the_origin() -> None:
    assert origin_faults(Workload("w", "w", cached=True), 1000, 1, 0)
    assert not origin_faults(Workload("w", "w", cached=True), 1000, 0, 0)


def test_varnish_takes_part_where_something_is_cached_only() -> None:
    assert [w.name for w in WORKLOADS if w.variants_of("varnish")] == ["hit-64b-c64", "hit-10k", "hit-1m"]
    assert [w.answer_bytes for w in select("hit-64b-c64,hit-10k,hit-1m,post-10k", quick=False)] == [64, 10240, 1 << 20, None]


@pytest.mark.parametrize("cached", [False, True])
def test_caches_are_set_up_where_they_are_measured_only(cached: bool) -> None:
    workload = Workload("w", "w", cached=cached)
    assert ("cache: 1h" in proxyd("@ROUTES@", SITE, workload, "1")) == cached
    assert ("keys_zone=hits" in nginx("@CACHE@", SITE, workload, "")) == cached
    text = haproxy("@USE_CACHE@@CACHE@", SITE, workload, "")
    assert all((word in text) == cached for word in ("cache-use hits", "cache-store hits", "cache hits", "max-age 3600"))


def test_varnish_is_told_where_its_origin_is_and_what_not_to_log() -> None:
    assert varnish('"@ORIGIN_PORT@"', SITE) == '"9001"'
    plain, silent = varnish_options(SITE, ""), varnish_options(SITE, "nolog")
    assert plain == silent[: len(plain)]
    assert silent[len(plain) + 1].startswith("vsl_mask=-Begin,-End")


def test_the_line_of_wrk_is_read() -> None:
    line = (
        'BENCH {"requests": 7, "duration_us": 1000000, "bytes": 9, "p50_us": 1, "p99_us": 2, "max_us": 3, '
        '"errors": {"connect": 0, "read": 1, "write": 0, "timeout": 0, "status": 2}}'
    )
    load = parse_report(f"Running 1s test\n\n{line}\n", 0.5)
    assert (load.requests, load.per_second, load.errors["status"], load.cpu_seconds) == (7, 7.0, 2, 0.5)


def test_templates_name_every_route_and_server_and_leave_no_word() -> None:
    workload = Workload("w", "w", routes=3, servers=2)
    for make, template in ((nginx, "@SERVERS@|@LOCATIONS@"), (proxyd, "@SERVERS@|@ROUTES@")):
        text = make(template, SITE, workload, "")
        assert "@" not in text
        assert all(f"/svc-{i:04d}/" in text for i in (1, 2, 3))
        assert "127.0.0.1:9001" in text
        assert "127.0.0.1:9002" in text
    assert "map_beg(/run/x/routes.map,app)" in haproxy("@ROUTES@", SITE, workload, "")


def test_a_word_that_is_not_known_is_an_error() -> None:
    with pytest.raises(KeyError):
        fill("@PROT@", {"PORT": "1"})


def test_workloads_are_chosen_by_name() -> None:
    assert [w.name for w in select("1m,close", quick=False)] == ["1m", "close"]
    with pytest.raises(ValueError, match="no workload 2m"):
        select("2m", quick=False)
