"""The daemon with its cache, all of it real: engines, the native store, what stands around it, tiers over sockets."""
from __future__ import annotations

import asyncio
import gzip
import importlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import zstandard

from proxyd.caching.purge import PurgeKind, build_orders
from proxyd.caching.report import CacheView
from proxyd.daemon import Daemon
from proxyd.metrics.exposition import Exposition
from proxyd.snapshot.explain import Question
from tests.support.client import Response, connect, get
from tests.support.daemon import port_of, running
from tests.support.memcached_fake import FakeMemcached, fake_memcached
from tests.support.origin import Origin
from tests.support.redis_fake import FakeRedis, fake_redis
from tests.support.wait import until

brotli: Any = importlib.import_module("brotli")
THREADS = pytest.mark.parametrize("threads", [0, 2])
TEXT = b"".join(b"line %d of a page\n" % number for number in range(200))
FIELDS = {
    "tagged": "Surrogate-Key: one two", "private": "Cache-Control: private", "cookie": "Set-Cookie: a=1", "vary": "Vary: Accept-Language",
    "page": "Content-Type: text/html",
}


class Counted(Origin):
    """Its answers begin with their number, are fresh for a minute, and have a field by the first word of the path."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = self.number
        self.paths: list[str] = []

    async def number(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> bool:
        path = head.split()[1].decode()
        self.paths.append(path)
        word = path.strip("/").partition("/")[0]
        body = b"%d " % len(self.paths) + (TEXT if word == "page" else path.encode())
        fields = [f"Content-Length: {len(body)}", *([FIELDS[word]] if word in FIELDS else [])]
        if "Cache-Control" not in fields[-1]:
            fields.append("Cache-Control: max-age=60")
        writer.write("\r\n".join(["HTTP/1.1 200 OK", *fields]).encode() + b"\r\n\r\n" + body)
        await writer.drain()
        return True


def config(origin: Origin, *, cache: str = "{memory: 8MiB, purge: {allow: [127.0.0.1]}}", route: str = "cache: {grace: 1h}") -> str:
    return (
        f'listen: "127.0.0.1:0"\nupstreams: {{app: {{servers: ["{origin.address}"]}}}}\ncache: {cache}\n'
        "policies: {small: {compress: {encodings: [zstd, br, gzip], min_size: 1KiB, types: [text/*]}}}\n"
        f"routes: [{{name: plain, match: /plain/*, to: app}}, {{name: media, to: app, use: [small]{', ' if route else ''}{route}}}]\n"
    )


async def purge(daemon: Daemon, kind: PurgeKind, text: str, *, soft: bool = False) -> int:
    orders = build_orders(kind, [text], soft=soft)
    return (await daemon.purge(orders)).objects


async def asked(daemon: Daemon, path: str, *fields: str) -> bytes:
    """The number of the origin's answer that comes."""
    return (await get(port_of(daemon), path, *fields)).body.split()[0]


async def said(daemon: Daemon, request: str) -> Response:
    async with connect(port_of(daemon)) as client:
        await client.send(request.replace("\n", "\r\n").encode() + b"\r\n\r\n")
        return await client.response()


# ---------------------------------------------------------------------- store and purges
@THREADS
async def test_what_is_stored_is_found_and_purged_on_every_engine(threads: int) -> None:
    async with Counted() as origin, running(config(origin), threads=threads) as daemon:
        first = await get(port_of(daemon), "/a")
        assert (first.body, first.field("cache-status")) == (b"1 /a", "proxyd; fwd=uri-miss; stored; ttl=60")
        for _ in range(4):
            again = await get(port_of(daemon), "/a")
            assert (again.body, again.field("age")) == (b"1 /a", "0")
        assert await purge(daemon, "url", "http://test/a") == 1
        assert {await asked(daemon, "/a") for _ in range(4)} == {b"2"}
        assert await asked(daemon, "/tagged/x") == b"3"
        for order in (("tag", "two"), ("prefix", "test/tag"), ("host", "test")):
            await asked(daemon, "/tagged/x")
            assert await purge(daemon, *order) > 0
        number = len(origin.paths)
        assert await asked(daemon, "/tagged/x") == b"%d" % (number + 1)
        view = daemon.cache()
        assert (view.requests["hit"], view.store["purges_tag"], view.store["purges_url"]) == (7 + 1, 1, 1)


async def test_soft_purged_is_served_while_it_is_fetched_again() -> None:
    async with Counted() as origin, running(config(origin)) as daemon:
        assert await asked(daemon, "/a") == b"1"
        assert await purge(daemon, "url", "http://test/a", soft=True) == 1
        assert daemon.cache_objects("http://test/a")[0].soft_purged
        stale = await get(port_of(daemon), "/a")
        assert stale.body == b"1 /a"
        await until(lambda: len(origin.paths) == 2 and not daemon.cache_objects("http://test/a")[0].soft_purged)
        assert await asked(daemon, "/a") == b"2"


@THREADS
async def test_the_method_purge(threads: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "proxyd.caching")
    async with Counted() as origin, running(config(origin), threads=threads) as daemon:
        for path in ("/a", "/tagged/x", "/tagged/y"):
            await asked(daemon, path)
        found = await said(daemon, "PURGE /a HTTP/1.1\nHost: test")
        assert (found.status, found.field("content-type"), json.loads(found.body)) == (200, "application/json", {"purged": 1})
        for request in ("PURGE / HTTP/1.1\nHost: test\nSurrogate-Key: one\nSoft-Purge: 1", "PURGE /tagged* HTTP/1.1\nHost: test"):
            assert json.loads((await said(daemon, request)).body) == {"purged": 2}
        assert origin.paths == ["/a", "/tagged/x", "/tagged/y"], "the origin hears nothing of it"
        assert "purged url http://test/a by PURGE: 1 object" in caplog.text
    async with Counted() as origin, running(config(origin, cache="{memory: 8MiB, purge: {allow: [192.0.2.1]}}")) as daemon:
        await said(daemon, "PURGE /a HTTP/1.1\nHost: test")
        assert origin.paths == ["/a"], "from elsewhere it is an ordinary method"


async def test_why() -> None:
    async with Counted() as origin, running(config(origin)) as daemon:
        async def why(path: str) -> tuple[str, str]:
            url = f"http://test:8080{path}"
            found = daemon.cache_why(url, Question("GET", "test", path, port="8080"))
            return found.verdict, found.section or found.text

        for path in ("/a", "/private", "/cookie", "/plain/x"):
            await get(port_of(daemon), path, "Host: test:8080")
        assert await why("/private") == ("not_stored", "RFC 9111 §5.2.2.7")
        assert await why("/cookie") == ("not_stored", "RFC 9111 §7.3")
        assert (await why("/plain/x"))[0] == "not_cached"
        assert (await why("/a"))[0] == "fresh"
        assert await why("/b") == ("absent", "nothing is stored: nobody has asked for it since the start")
        found, = daemon.cache_objects("test:8080/a")
        decision, = daemon.explain(Question("GET", "test", "/a", port="8080"))
        assert dict(decision.facts)["cache key"] == f"zone {found.zone}, {found.key}", "the dry run names the key that counts"
        assert await purge(daemon, "host", "test:8080") == 1, "notes of what is not stored go with it, and do not count"
        assert await why("/a") == ("absent", "nothing is stored: nobody has asked for it since the start; or it was purged (1 so far)")
        assert (await why("/private"))[0] == "absent"


# ---------------------------------------------------------------------- compressed forms
@THREADS
async def test_compressed_forms_are_made_and_chosen(threads: int) -> None:
    async with Counted() as origin, running(config(origin), threads=threads) as daemon:
        plain = await get(port_of(daemon), "/page", "Accept-Encoding: br")
        assert (plain.field("content-encoding"), plain.body) == (None, b"1 " + TEXT)
        await until(lambda: len(daemon.cache_objects("http://test/page")) == 4)
        for accepted, chosen in (("br", "br"), ("gzip", "gzip"), ("zstd;q=0.5, gzip;q=0", "zstd"), ("gzip, br, zstd", "zstd")):
            found = await get(port_of(daemon), "/page", f"Accept-Encoding: {accepted}")
            assert (found.field("content-encoding"), found.field("vary")) == (chosen, "Accept-Encoding")
            unpack = {"br": brotli.decompress, "gzip": gzip.decompress, "zstd": zstandard.ZstdDecompressor().decompress}[chosen]
            assert unpack(found.body) == b"1 " + TEXT
            assert len(found.body) < len(TEXT) / 2
        assert (await get(port_of(daemon), "/page", "Accept-Encoding: identity")).body == b"1 " + TEXT
        assert origin.paths == ["/page"]
        compress = daemon.cache().compress
        assert compress is not None
        assert compress.made == {"zstd": 1, "br": 1, "gzip": 1}
        assert await purge(daemon, "url", "http://test/page") == 4


# ---------------------------------------------------------------------- tiers
Server = FakeRedis | FakeMemcached


@asynccontextmanager
async def two_nodes(kind: str, origin: Counted, threads: int = 0, patience: str = "5s") -> AsyncIterator[tuple[Server, Daemon, Daemon]]:
    async with fake_redis() if kind == "redis" else fake_memcached() as server:
        where = f'redis: "{server.url}"' if isinstance(server, FakeRedis) else f'memcached: "{server.address}"'
        text = config(origin, cache=f"{{memory: 8MiB, shared: {{{where}, timeout: {patience}, circuit: {{failures: 1, open_for: 1h}}}}}}")
        async with running(text, threads=threads) as one, running(text, threads=threads) as two:
            await until(lambda: counters(one)["operations"] and counters(two)["operations"], "the log of purges has been read")
            yield server, one, two


def counters(daemon: Daemon) -> dict[str, int]:
    return dict(daemon.cache().tiers[0].counters)


@pytest.mark.parametrize("kind", ["redis", "memcached"])
@THREADS
async def test_what_one_node_fetched_the_other_finds_in_the_tier_until_it_is_purged(kind: str, threads: int) -> None:
    async with Counted() as origin, two_nodes(kind, origin, threads) as (_, one, two):
        assert await asked(one, "/tagged/a") == b"1"
        assert await asked(one, "/vary/a", "Accept-Language: de") == b"2"
        await until(lambda: counters(one)["store_done"] == 2)
        assert await asked(two, "/tagged/a") == b"1"
        assert await asked(two, "/vary/a", "Accept-Language: de") == b"2"
        assert await asked(two, "/vary/a", "Accept-Language: en") == b"3", "another variant is nobody's yet"
        assert (counters(two)["lookup_hit"], counters(one)["lookup_miss"]) == (2, 2)
        await until(lambda: counters(two)["store_done"] == 1)
        assert await asked(one, "/vary/a", "Accept-Language: en") == b"3"
        assert await purge(two, "tag", "one") == 1
        assert await asked(two, "/tagged/a") == b"4"


async def test_a_purge_here_empties_the_memory_there() -> None:
    async with Counted() as origin, two_nodes("redis", origin) as (_, one, two):
        for daemon in (one, two):
            assert await asked(daemon, "/tagged/a") == b"1"
            await until(lambda: counters(one)["store_done"] == 1)
        assert (await said(one, "PURGE /tagged/a HTTP/1.1\nHost: test")).status == 200
        assert len(origin.paths) == 2, "from networks that are not allowed it goes to the origin"
        assert (await one.purge(build_orders("tag", ["one"]))).spread
        await until(lambda: two.cache_objects("http://test/tagged/a") == (), "the order has come")
        assert await asked(two, "/tagged/a") == b"3"


async def test_what_a_method_changed_is_invalid_on_all_nodes() -> None:
    """RFC 9111 section 4.4, for a cache that is memory and tier together."""
    async with Counted() as origin, two_nodes("redis", origin) as (_, one, two):
        for daemon in (one, two):
            assert await asked(daemon, "/a") == b"1"
            await until(lambda: counters(one)["store_done"] == 1)
        assert (await said(one, "POST /a HTTP/1.1\nHost: test\nContent-Length: 0")).status == 200
        await until(lambda: two.cache_objects("http://test/a") == (), "the word has come")
        assert await asked(two, "/a") == b"3"
        await until(lambda: counters(two)["store_done"] == 1)
        assert await asked(one, "/a") == b"3"


@pytest.mark.parametrize("kind", ["redis", "memcached"])
async def test_a_dead_tier_costs_nothing_but_its_help(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    async with Counted() as origin, two_nodes(kind, origin, patience="500ms") as (server, one, _):
        assert await asked(one, "/a") == b"1"
        await until(lambda: counters(one)["store_done"] == 1)
        await server.stop()
        assert [await asked(one, path) for path in ("/b", "/c", "/a", "/b")] == [b"2", b"3", b"1", b"2"]
        await until(lambda: one.cache().tiers[0].circuit_open)
        assert (await one.purge(build_orders("url", ["http://test/a"]))).spread is False
        assert await asked(one, "/a") == b"4"


# ---------------------------------------------------------------------- warm start
async def test_a_restart_finds_what_was_stored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "proxyd.caching")
    path = tmp_path / "cache.snapshot"

    def loaded(daemon: Daemon) -> int:
        snapshot = daemon.cache().snapshot
        return snapshot.loaded if snapshot is not None else -1

    async with Counted() as origin:
        text = config(origin, cache=f"{{memory: {{size: 8MiB, snapshot: {path}}}}}")
        async with running(text) as daemon:
            for name in ("a", "b", "tagged/c", "vary/d", "private", "page", "soft"):
                await asked(daemon, f"/{name}", "Accept-Language: de")
            await until(lambda: len(daemon.cache_objects("http://test/page")) == 4, "the compressed forms are there")
            assert await purge(daemon, "url", "http://test/soft", soft=True) == 1
            await until(lambda: "starts empty" in caplog.text)
            daemon.stop()
            assert await daemon.wait() == 0
        async with running(text) as daemon:
            await until(lambda: loaded(daemon) == 6)
            assert [await asked(daemon, f"/{name}", "Accept-Language: de") for name in ("a", "b", "tagged/c", "vary/d")] == [
                b"1", b"2", b"3", b"4"]
            await until(lambda: len(daemon.cache_objects("http://test/page")) == 4, "the forms have been made again")
            assert brotli.decompress((await get(port_of(daemon), "/page", "Accept-Encoding: br")).body) == b"6 " + TEXT
            assert (await get(port_of(daemon), "/page")).body == b"6 " + TEXT
            assert re.fullmatch(r"proxyd; hit; ttl=(0|-[0-9])", (await get(port_of(daemon), "/soft")).field("cache-status") or "")
            await until(lambda: origin.paths[-1] == "/soft" and len(origin.paths) == 8, "it is fetched behind the client's back")
            assert await purge(daemon, "tag", "two") == 1
            assert await asked(daemon, "/vary/d", "Accept-Language: en") == b"9"
        whole = path.read_bytes()
        at = whole.index(b"1 /a")
        path.write_bytes(whole[:at] + b"7" + whole[at + 1:])
        async with running(text) as daemon:
            await until(lambda: loaded(daemon) == 4)
            assert "1 damaged objects were left out" in caplog.text
            assert await asked(daemon, "/a") == b"10"
            assert await asked(daemon, "/b") == b"2"
            assert await asked(daemon, "/tagged/c") == b"11", "it was purged since, though the snapshot was not written again"
        path.write_bytes(whole[:at])
        async with running(text) as daemon:
            await until(lambda: "it ends too early" in caplog.text)
            assert await asked(daemon, "/nobody") == b"12"


# ---------------------------------------------------------------------- reloads
@THREADS
async def test_reloads(threads: int) -> None:
    async with Counted() as origin, running(config(origin), threads=threads) as daemon:
        async def reload(text: str) -> CacheView:
            result = await daemon.reload(f"runtime: {{threads: {threads}}}\nlog: {{access: none}}\n{text}")
            assert result.ok, result
            return daemon.cache()

        assert await asked(daemon, "/a") == b"1"
        view = await reload(config(origin, cache="{memory: 16MiB}"))
        assert (view.store["limit_bytes"], view.store["objects"]) == (16 << 20, 1)
        assert await asked(daemon, "/a") == b"1"
        assert not (await reload(config(origin, route=""))).enabled
        assert (await get(port_of(daemon), "/a")).field("cache-status") is None
        assert (await reload(config(origin))).store["limit_bytes"] == 8 << 20
        assert await asked(daemon, "/a") == b"3", "the store that nobody named went with all that it held"
        assert await asked(daemon, "/a") == b"3"
        refused = await daemon.reload(config(origin, cache="{memory: 1KiB}"))
        assert not refused.ok
        tried = await daemon.reload(f"runtime: {{threads: {threads}}}\n{config(origin, cache='{memory: 32MiB}')}", dry_run=True)
        assert tried.ok
        assert daemon.cache().store["limit_bytes"] == 8 << 20
        assert await asked(daemon, "/a") == b"3"


# ---------------------------------------------------------------------- values of applications
@pytest.mark.parametrize("threads", [0, 2])
async def test_values_of_applications(threads: int) -> None:
    text = 'listeners: {aside: {bind: "127.0.0.1:0", mode: cache}}\ncache: {memory: 8MiB}\n'
    async with running(text, threads=threads) as daemon, connect(port_of(daemon, "aside")) as client:
        async def say(line: str, body: bytes = b"", *fields: str) -> Response:
            lines = [f"{line} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}", *fields]
            await client.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
            return await client.response()

        assert (await say("GET /cache/k")).status == 404
        assert (await say("PUT /cache/k?ttl=30s", b"value", "Content-Type: text/plain")).status in (201, 204)
        found = await say("GET /cache/k")
        assert (found.status, found.body, found.field("content-type")) == (200, b"value", "text/plain")
        assert daemon.cache().store["objects"] == 1
        assert (await say("DELETE /cache/k")).status in (200, 204)
        assert (await say("GET /cache/k")).status == 404


# ---------------------------------------------------------------------- metrics
async def test_metrics_have_a_line_for_what_the_store_counts() -> None:
    async with Counted() as origin, running(config(origin)) as daemon:
        for path in ("/a", "/a", "/page", "/private"):
            await asked(daemon, path)
        await until(lambda: len(daemon.cache_objects("http://test/page")) == 4)
        await purge(daemon, "url", "http://test/a")
        page = (await Exposition(daemon, "1").render(""))[0].decode().splitlines()
        for line in (
            'proxyd_cache_requests_total{listener="default",result="hit",route="media"} 1',
            'proxyd_cache_requests_total{listener="default",result="miss",route="media"} 3',
            'proxyd_cache_served_bytes_total{listener="default",route="media"} 4',
            "proxyd_cache_objects 4", "proxyd_cache_markers 1", "proxyd_cache_inserted_total 2",
            'proxyd_cache_purges_total{kind="url"} 1', 'proxyd_cache_evictions_total{reason="purged"} 1',
            'proxyd_cache_compressed_forms_total{encoding="br"} 1',
        ):
            assert line in page
