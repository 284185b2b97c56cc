"""Health checks against real servers: PostgreSQL with each way to log in and a role that moves, Redis that turns from primary to replica
and back, a resolver. What the dialogues of the suite say is what these say."""
from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from proxyd.clock import SystemClock
from proxyd.health.check import Check, run_check
from proxyd.health.probe import probe
from proxyd.upkeep import build_checks
from tests.acceptance.databases import PASSWORD, Postgres, PostgresPair, Redis, Server, Unbound
from tests.acceptance.stage import Process, Proxyd, ending, free_port, listens, needed, until
from tests.support.config import upstream_of

SECRET = "s3 cret"


def check_of(text: str) -> Check:
    """As a user writes it under `health`."""
    [check] = build_checks(upstream_of(f"health: {text}"))
    return check


async def reason(text: str, server: Server) -> str:
    """Why the check fails; "" when it passes."""
    return (await run_check(check_of(text), (server.host, server.port), SystemClock(), probe)).reason


@pytest.fixture(scope="module")
def pair() -> Iterator[PostgresPair]:
    with PostgresPair() as started:
        yield started


def postgres(user: str, role: str = "any", more: str = "") -> str:
    return f"{{postgres: {{role: {role}, user: {user}{more}}}, timeout: 5s}}"


def with_password(password: str) -> str:
    return f", password: {json.dumps(password)}"


@pytest.mark.parametrize("user", ["md5", "scram", "clear"])
async def test_postgres_with_a_password(pair: PostgresPair, user: str) -> None:
    for server in (pair.one, pair.two):
        assert await reason(postgres(user, more=with_password(PASSWORD)), server) == ""
        assert await reason(postgres(user, more=with_password("wrong")), server) == (
            f'the server refuses user {user}: password authentication failed for user "{user}"')
        assert await reason(postgres(user), server) == f"the server asks user {user} for a password, and the check has none"


@pytest.mark.parametrize(
    ("user", "more", "said"),
    [
        ("plain", "", ""),
        ("plain", ", database: template1", ""),
        ("plain", ", database: none", 'the server refuses: database "none" does not exist'),
        ("nobody", "", 'the server refuses user nobody: role "nobody" does not exist'),
        ("refused", "", 'the server refuses user refused: pg_hba.conf rejects connection for host "127.0.0.1", user "refused", '
                        'database "postgres", no encryption'),
    ],
)
async def test_who_may_log_in_to_postgres(pair: PostgresPair, user: str, more: str, said: str) -> None:
    assert await reason(postgres(user, more=more), pair.one) == said


async def test_the_role_of_a_postgres_moves(pair: PostgresPair) -> None:
    async def told(server: Postgres) -> list[str]:
        return [await reason(postgres("plain", role), server) for role in ("primary", "replica", "any")]

    primary, replica = ["", "it is a primary, a replica is wanted", ""], ["it is a replica, a primary is wanted", "", ""]
    before, after = pair.primary, pair.replica
    assert [await told(before), await told(after)] == [primary, replica]
    await asyncio.to_thread(pair.switch)
    assert [await told(before), await told(after)] == [replica, primary]
    after.stop()
    assert await told(after) == ["connection refused"] * 3
    before.promote()
    assert await told(before) == primary
    after.follow(before)
    assert [await told(before), await told(after)] == [primary, replica]


async def test_a_postgres_that_hangs(pair: PostgresPair) -> None:
    server = pair.primary
    server.send(signal.SIGSTOP)
    try:
        assert await reason("{postgres: {role: any, user: plain}, timeout: 200ms}", server) == "no answer within 0.2 s"
    finally:
        server.send(signal.SIGCONT)


async def test_postgres_leaves_no_session_behind(pair: PostgresPair) -> None:
    assert await reason(postgres("plain"), pair.primary) == ""
    counted = "select count(*) from pg_stat_activity where application_name like 'proxyd%'"
    await asyncio.to_thread(until, lambda: pair.primary.sql(counted) == "0", "the sessions of checks have ended")


@pytest.fixture
def redises(tmp_path: Path) -> Iterator[tuple[Redis, Redis]]:
    with Redis(tmp_path, "one") as one, Redis(tmp_path, "two") as two:
        one.start()
        two.start()
        two.follow(one)
        yield one, two


async def test_the_role_of_a_redis_moves(redises: tuple[Redis, Redis]) -> None:
    async def told(server: Redis) -> list[str]:
        return [await reason(f"{{redis: {role}}}", server) for role in ("primary", "replica", "any")]

    one, two = redises
    primary, replica = ["", "it is a primary, a replica is wanted", ""], ["it is a replica, a primary is wanted", "", ""]
    assert [await told(one), await told(two)] == [primary, replica]
    two.lead()
    one.follow(two)
    assert [await told(one), await told(two)] == [replica, primary]
    two.kill()
    await asyncio.to_thread(until, lambda: "master_link_status:down" in one.ask("INFO", "replication"), "the link is down")
    assert await told(one) == ["it is a replica, a primary is wanted", "its link to the primary is down", ""]
    one.ask("CONFIG", "SET", "replica-serve-stale-data", "no")
    assert (await told(one))[2].startswith("the server refuses: MASTERDOWN Link with MASTER is down")


async def test_redis_with_a_password(tmp_path: Path) -> None:
    options = ["--requirepass", SECRET, "--user", "health", "on", "nopass", "+ping", "+info", "+auth"]
    with Redis(tmp_path, "locked", *options) as server:
        server.start()
        assert await reason("{redis: any}", server) == "the server refuses: NOAUTH Authentication required."
        assert await reason(f"{{redis: {{role: any, password: '{SECRET}'}}}}", server) == ""
        assert (await reason("{redis: {role: any, password: wrong}}", server)).startswith("the server refuses: WRONGPASS ")
        assert await reason("{redis: {role: primary, user: health}}", server) == ""
        assert await reason(f"{{redis: {{role: primary, user: default, password: '{SECRET}'}}}}", server) == ""


async def test_a_script_for_redis(redises: tuple[Redis, Redis]) -> None:
    script = r'''{tcp: {script: [{send: "PING\r\n"}, {expect: "+PONG\r\n"}, {send: "INFO replication\r\n"},
        {expect: "role:slave", not: true}, {expect: {regex: 'role:(master|slave)'}, within: 4096}, {expect: connected_slaves},
        {send_hex: 51 55 49 54 0d 0a}, {expect_hex: 2b4f4b}]}}'''
    one, two = redises
    assert await reason(script, one) == ""
    assert (await reason(script, two)).endswith('expected not "role:slave"')


async def test_a_script_for_postgres(pair: PostgresPair) -> None:
    """SSLRequest; a server without TLS answers N."""
    assert await reason('{tcp: {send_hex: "00 00 00 08 04 d2 16 2f", expect: N}}', pair.primary) == ""


async def test_a_resolver(tmp_path: Path) -> None:
    with Unbound(tmp_path, "resolver", "a.example. 60 A 10.0.0.1") as server:
        server.start()
        assert await reason("{dns: a.example}", server) == ""
        assert await reason("{udp: {dns: b.example.}}", server) == "", "that there is no such name is known"
        assert await reason("{dns: x.refused.example}", server) == "answers REFUSED for x.refused.example"
        assert await reason("{dns: x.broken}", server) == "answers SERVFAIL for x.broken"
        question = "30 39 01 00 00 01 00 00 00 00 00 00 01 61 07 65 78 61 6d 70 6c 65 00 00 01 00 01"
        assert await reason(f'{{udp: {{send_hex: "{question}", expect_hex: 0a000001}}}}', server) == ""
        server.send(signal.SIGSTOP)
        assert await reason("{dns: a.example, timeout: 100ms}", server) == "no answer within 0.1 s"
        server.send(signal.SIGCONT)
    assert await reason("{dns: a.example}", server) == "nobody listens on this UDP port"


def test_the_daemon_follows_a_role(redises: tuple[Redis, Redis], tmp_path: Path) -> None:
    one, two = redises
    folder = tmp_path / "daemon"
    folder.mkdir()
    proxyd = Proxyd(folder, (
        f"listen: '127.0.0.1:{free_port()}'\nto: kept\nupstreams:\n  kept:\n    servers: ['{one.address}', '{two.address}']\n"
        "    health: {redis: primary, interval: 100ms, timeout: 100ms, rise: 1, fall: 1}\n"
    ))

    def checks() -> dict[str, tuple[str, str, str]]:
        [upstream] = proxyd.status()["upstreams"]
        found = [(server["label"], check) for server in upstream["servers"] for check in server["checks"]]
        return {address: (check["kind"], check["title"], check["reason"]) for address, check in found}

    with ending(proxyd):
        good, bad = ("redis", "redis primary", ""), ("redis", "redis primary", "it is a replica, a primary is wanted")
        until(lambda: checks() == {one.address: good, two.address: bad}, "the primary is known")
        two.lead()
        one.follow(two)
        until(lambda: checks() == {one.address: bad, two.address: good}, "the new primary is known")


def test_servers_that_want_a_proxy_header(redises: tuple[Redis, Redis], pair: PostgresPair, tmp_path: Path) -> None:
    """nginx and HAProxy before a Redis and a PostgreSQL: with the header of either version each check passes, without it none."""
    web, proxy, caches, databases, plain = (free_port() for _ in range(5))
    (tmp_path / "nginx.conf").write_text(
        f"daemon off; pid {tmp_path}/nginx.pid; error_log stderr; worker_processes 1; user root;\nevents {{}}\n"
        "http {\n  log_format told '$proxy_protocol_addr|$remote_addr $request $status';\n"
        f"  access_log {tmp_path}/access.log told;\n"
        f"  client_body_temp_path {tmp_path}/body; proxy_temp_path {tmp_path}/proxy; fastcgi_temp_path {tmp_path}/fastcgi;\n"
        f"  uwsgi_temp_path {tmp_path}/uwsgi; scgi_temp_path {tmp_path}/scgi;\n"
        f"  server {{ listen 127.0.0.1:{web} proxy_protocol; return 204; }}\n"
        f"  server {{ listen 127.0.0.1:{plain}; return 200 plain; }}\n}}\n"
    )
    (tmp_path / "haproxy.cfg").write_text(
        "global\n  maxconn 200\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
        f"frontend web\n  mode http\n  bind 127.0.0.1:{proxy} accept-proxy\n  http-request return status 204\n"
        f"listen caches\n  bind 127.0.0.1:{caches} accept-proxy\n  server one {redises[0].address}\n"
        f"listen databases\n  bind 127.0.0.1:{databases} accept-proxy\n  server one {pair.primary.address}\n"
    )
    checks = {
        "nginx": (web, "{path: /z, expect: '204', timeout: 4s}"),
        "haproxy": (proxy, "{path: /z, expect: '204', timeout: 4s}"),
        "redis": (caches, "{redis: primary, timeout: 4s}"),
        "script": (caches, '{tcp: {send: "PING\\r\\n", expect: +PONG}, timeout: 4s}'),
        "postgres": (databases, "{postgres: {role: primary, user: plain}, timeout: 4s}"),
        "elsewhere": (web, f"{{path: /, body: plain, port: {plain}, timeout: 4s}}"),
    }
    upstreams = "".join(
        f"  {name}-{header}: {{servers: ['127.0.0.1:{port}'], proxy_protocol: {header}, health: {check}}}\n"
        for name, (port, check) in checks.items() for header in ("none", "v1", "v2")
    )
    folder = tmp_path / "daemon"
    folder.mkdir()
    haproxy = Process([needed("haproxy"), "-db", "-f", str(tmp_path / "haproxy.cfg")], tmp_path / "haproxy.log")
    nginx = Process([needed("nginx"), "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path)], tmp_path / "nginx.log")
    with ending(haproxy, nginx):
        for port, process in ((proxy, haproxy), (caches, haproxy), (databases, haproxy), (web, nginx), (plain, nginx)):
            process.ready(partial(listens, port), f"port {port} listens")
        proxyd = Proxyd(folder, f"listen: '127.0.0.1:{free_port()}'\nto: nginx-v1\nupstreams:\n{upstreams}")

        def results() -> dict[str, str]:
            """Upstream → why its check fails; "" when it passes, "?" before there is a result."""
            found = {}
            for upstream in proxyd.status()["upstreams"]:
                [[check]] = [server["checks"] for server in upstream["servers"]]
                found[upstream["name"]] = "?" if check["result"] == "unknown" else check["reason"]
            return found

        with ending(proxyd):
            until(lambda: "?" not in results().values(), "each is known")
            failed = {name: reason for name, reason in results().items() if reason}
            assert failed.keys() == {f"{name}-none" for name in checks if name != "elsewhere"}, failed
            assert set((tmp_path / "access.log").read_text().splitlines()) >= {"-|127.0.0.1 GET /z HTTP/1.1 204"}, "no client is named"
            assert proxyd.end() == 0
