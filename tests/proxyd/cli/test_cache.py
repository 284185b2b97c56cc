from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from proxyd.caching.purge import Purge
from proxyd.cli.errors import Exit
from proxyd.compress.compressor import Counters
from tests.proxyd.admin.fake_daemon import FakeDaemon
from tests.support.store import MIB, FakeObject, FakeStore

Run = Callable[..., Result]


def test_stats(run: Run, daemon: FakeDaemon) -> None:
    daemon.store = FakeStore(
        [FakeObject("http://h/a")], bytes=200 * MIB, held_bytes=210 * MIB, inserted=12_345, evictions_capacity=10, evictions_replaced=3,
        purges_tag=2, purged_objects=5, refused_too_large=1, collapsed=4, handed_over=1)
    daemon.compress = Counters(finished=5, dropped=1)
    daemon.compress.refused["type"] = 2
    daemon.compress.made["br"], daemon.compress.bytes_in["br"], daemon.compress.bytes_out["br"] = 5, 1_000, 250
    daemon.store.points = [(128 * MIB, 1_000, 700), (256 * MIB, 1_000, 880), (512 * MIB, 1_000, 930)]
    assert run("cache", "stats").stdout.splitlines() == [
        "cache: hit ratio 88.0%, 3 MiB sent from memory",
        "  memory      200 MiB of 256 MiB in 1 object, 210 MiB taken",
        "  results     880 hit, 20 revalidated, 100 miss, 4 bypass",
        "  stored      12.3k; not stored: 1 too large",
        "  evicted     10 for room, 3 replaced",
        "  purges      2 by tag: 5 objects",
        "  collapsed   4 waited for another's fetch, 1 fetches handed over",
        "  redis       given up for a while: timed out; look-ups 12.3k hit; 0 stored; 5 failures",
        "  compressed  5 br (25.0% of the size); 1 dropped, 2 refused type",
        "  snapshot    /var/lib/proxyd/cache.snapshot, 12 objects loaded at the start; it ends too early",
        "routes",
        "  web/media  88.0%  3 MiB  880 hit, 20 revalidated, 100 miss, 4 bypass",
        "hit ratio by size, estimated",
        "  128 MiB  0.5x  70.0%  ▆",
        "  256 MiB  1x    88.0%  █ now",
        "  512 MiB  2x    93.0%  █",
        "with 512 MiB instead of 256 MiB the hit ratio would be 93.0% instead of 88.0%",
    ]
    assert json.loads(run("cache", "stats", "--json").stdout)["store"]["inserted"] == 12_345


def test_stats_without_a_cache(run: Run, daemon: FakeDaemon) -> None:
    assert daemon.store is None
    assert run("cache", "stats").stdout == "no cache: no route of the running config has `cache`\n"


def test_get(run: Run, daemon: FakeDaemon) -> None:
    daemon.store = FakeStore([
        FakeObject("http://h/a", b"app\0h/a", body=b"x" * 2048, vary="accept", variant=b"text/html", tags=["x", "y"], etag='"e"',
                   stale_while_revalidate_s=60.0, stale_if_error_s=3_600.0),
        FakeObject("https://h/a", body=b"", state="marker", reason="no-store", fresh_s=60.0),
    ])
    assert run("cache", "get", "h/a").stdout.splitlines() == [
        "200 http://h/a  2 KiB, age 50s, fresh for 4 min 10 s more",
        "    zone app, key h/a, 512 B in the store, used 1 of 3",
        "    varies by accept: text/html",
        "    served stale: 1m 0s while it is fetched again, 1h 0m if the server fails",
        "    tags x, y",
        '    ETag "e"',
        "200 https://h/a  not stored: the server said `Cache-Control: no-store`; asked again in 1 min at the latest",
        "    zone app, key https://h/a",
    ]
    assert len(json.loads(run("cache", "get", "h/a", "--json").stdout)["objects"]) == 2
    missing = run("cache", "get", "http://h/b")
    assert (missing.exit_code, "cache why http://h/b" in missing.stderr) == (Exit.NOT_FOUND, True)
    assert run("cache", "get", "http://h/b", "--json").exit_code == Exit.NOT_FOUND


def test_why(run: Run, daemon: FakeDaemon) -> None:
    daemon.store = FakeStore([FakeObject("http://h/p", state="marker", reason="authorization", fresh_s=0), FakeObject("http://h/a")])
    found = run("cache", "why", "http://h/p", "-H", "Accept: x", "--client", "::1")
    assert found.exit_code == Exit.NOT_FOUND
    assert found.stdout.splitlines()[:5] == [
        "http://h/p: not stored: the request had an Authorization field, and the answer does not allow that it is shared",
        "  RFC 9111 §3.5",
        "  = help: let the server say `public`, `s-maxage=...` or `must-revalidate`, if it is the same for all users",
        "  web 127.0.0.1:8080: route media, to app, zone app",
        "      cache key: host, path",
    ]
    assert (daemon.asked[0][2].headers, daemon.asked[0][2].client) == ((("Accept", "x"),), "::1")
    stored = run("cache", "why", "http://h/a")
    assert (stored.exit_code, stored.stdout.splitlines()[0]) == (0, "http://h/a: stored: fresh for 4 min 10 s more")
    assert json.loads(run("cache", "why", "http://h/a", "--json").stdout)["verdict"] == "fresh"


@pytest.mark.parametrize(("arguments", "orders"), [
    (("http://h/a",), [Purge("url", "http://h/a")]),
    (("h/a",), [Purge("url", "http://h/a"), Purge("url", "https://h/a")]),
    (("http://h/a", "--url", "http://h/b", "--soft"), [Purge("url", "http://h/b", True), Purge("url", "http://h/a", True)]),
    (("--prefix", "http://h/s/"), [Purge("prefix", "http://h/s/")]),
    (("--tag", "a", "--tag", "b"), [Purge("tag", "a"), Purge("tag", "b")]),
    (("--host", "h:8080"), [Purge("host", "h:8080")]),
    (("--all",), [Purge("all")]),
])
def test_purge(run: Run, daemon: FakeDaemon, arguments: tuple[str, ...], orders: list[Purge]) -> None:
    result = run("cache", "purge", *arguments)
    said = "marked as stale" if orders[0].soft else "purged"
    assert (result.exit_code, result.stdout) == (0, f"7 objects {said}\n")
    assert daemon.asked == [("purge", tuple(orders))]
    assert json.loads(run("cache", "purge", *arguments, "--json").stdout)["purged"] == 7
    assert run("cache", "purge", *arguments, "-q").output == ""


def test_a_purge_that_did_not_reach_the_other_nodes_fails(run: Run, daemon: FakeDaemon) -> None:
    daemon.spread = False
    result = run("cache", "purge", "--all")
    assert (result.exit_code, result.stdout) == (Exit.FAILED, "7 objects purged\n")
    assert "shared tier" in result.stderr


@pytest.mark.parametrize("arguments", [(), ("--soft",), ("--all", "--tag", "a"), ("http://h/", "--prefix", "http://h/")])
def test_one_kind_at_a_time(run: Run, daemon: FakeDaemon, arguments: tuple[str, ...]) -> None:
    assert run("cache", "purge", *arguments).exit_code == Exit.USAGE
    assert daemon.asked == []


def test_a_url_that_is_none(run: Run, daemon: FakeDaemon) -> None:
    assert run("cache", "purge", "ftp://h/").exit_code == Exit.USAGE
    assert daemon.asked == []
