"""Issue 6, acceptance 3 and 4: psql, pgbench, redis-cli and redis-benchmark through listeners for primaries and replicas, which move."""
from __future__ import annotations

import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.databases import PostgresPair, Redis, postgres_program
from tests.acceptance.examples import example
from tests.acceptance.stage import Proxyd, ending, free_port, needed, until
from tests.acceptance.wires import dial, exactly, is_closed, until_checked

INTERVAL_S, TIMEOUT_S, FALL, RISE = 0.2, 0.15, 2, 1
# After so long every check has told the news: intervals vary by a tenth, and a check may take its timeout; the rest is for a busy machine.
NOTICED_S = INTERVAL_S * 1.1 * max(FALL, RISE) + TIMEOUT_S + 0.25
TIMES = f"interval: {INTERVAL_S * 1000:.0f}ms, timeout: {TIMEOUT_S * 1000:.0f}ms, fall: {FALL}, rise: {RISE}"
CLIENTS = 4


class Rig:
    """Two servers behind two listeners: one for the primary, one for replicas."""

    def __init__(self, folder: Path, addresses: list[str], check: Callable[[str], str], replicas: int | None = None) -> None:
        self.primary, self.replicas = free_port(), replicas or free_port()
        servers = ", ".join(f"'{address}'" for address in addresses)
        self.proxyd = Proxyd(folder, (
            "log: {access: none}\nlisteners:\n"
            f"  primary: {{bind: ['127.0.0.1:{self.primary}'], mode: tcp, to: primary}}\n"
            f"  replicas: {{bind: ['127.0.0.1:{self.replicas}'], mode: tcp, to: replicas}}\nupstreams:\n"
            f"  primary: {{servers: [{servers}], on_down: close, health: {{active: {{{check('primary')}, {TIMES}}}}}}}\n"
            f"  replicas: {{servers: [{servers}], on_down: close, health: {{active: {{{check('replica')}, {TIMES}}}}}}}\n"
        ))

    def up(self, upstream: str) -> set[str]:
        """The addresses that are up."""
        found = re.compile(rf'proxyd_upstream_server_up{{server="([^"]+)",upstream="{upstream}"}}')
        return {match[1] for name, value in self.proxyd.metrics().items() if (match := found.match(name)) and value}


# ---------------------------------------------------------------------- PostgreSQL
@pytest.fixture(scope="module")
def pair() -> Iterator[PostgresPair]:
    with PostgresPair() as pair:
        pgbench(pair.primary.port, "-i", "-s", "1", "-q")
        yield pair


def postgres_check(role: str) -> str:
    return f"postgres: {{role: {role}, user: plain}}"


@pytest.fixture
def postgres(pair: PostgresPair, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path, [pair.one.address, pair.two.address], postgres_check)
    with ending(rig.proxyd):
        until(lambda: rig.up("primary") == {pair.primary.address} and rig.up("replicas") == {pair.replica.address}, "the roles are known")
        yield rig
        assert rig.proxyd.end() == 0


def psql(port: int, text: str) -> subprocess.CompletedProcess[str]:
    """By a session of its own."""
    target = f"host=127.0.0.1 port={port} user=app dbname=postgres connect_timeout=5"
    command = [postgres_program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", target, "-c", text]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)


def pgbench(port: int, *arguments: str) -> str:
    command = [postgres_program("pgbench"), "-h", "127.0.0.1", "-p", str(port), "-U", "app", *arguments, "postgres"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def number(text: str, what: str) -> float:
    found = re.search(rf"{what}[^=:]*[=:] ([0-9.]+)", text)
    assert found, text
    return float(found[1])


WHERE = "select inet_server_port() || ' ' || pg_is_in_recovery()"


def test_psql_and_pgbench(postgres: Rig, pair: PostgresPair) -> None:
    for _ in range(4):
        assert psql(postgres.primary, WHERE).stdout == f"{pair.primary.port} false\n"
        assert psql(postgres.replicas, WHERE).stdout == f"{pair.replica.port} true\n"
    pgbench(postgres.primary, "-i", "-s", "1", "-q")
    steady = pgbench(postgres.primary, "-n", "-c", str(CLIENTS), "-T", "3")
    anew = pgbench(postgres.primary, "-n", "-c", str(CLIENTS), "-T", "3", "-C")
    for told in (steady, anew):
        assert number(told, "transactions actually processed") > 100
        assert number(told, "failed transactions") == 0
    assert number(anew, "average connection time") > 0
    caught_up = f"select pg_wal_lsn_diff('{pair.primary.sql('select pg_current_wal_lsn()')}', pg_last_wal_replay_lsn()) <= 0"
    until(lambda: psql(postgres.replicas, caught_up).stdout == "t\n", "the replica has it, too")
    reading = pgbench(postgres.replicas, "-n", "-S", "-c", str(CLIENTS), "-T", "1", "-C")
    assert number(reading, "failed transactions") == 0
    refused = psql(postgres.replicas, "create table refused()")
    assert "read-only transaction" in refused.stderr
    tps = {what: number(told, "tps") for what, told in (("steady", steady), ("a session each", anew), ("reading", reading))}
    print("\npgbench, transactions a second:", ", ".join(f"{what} {value:.0f}" for what, value in tps.items()))


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a session, or of a run of pgbench."""

    began: float
    ended: float
    server: str     # port of the one that wrote; "" when it failed
    said: str       # on stderr


class Clients:
    """psql, and pgbench with a session for each transaction, that begin anew when they have ended or failed, as long as this is open."""

    def __init__(self, port: int) -> None:
        self._port, self._stopped = port, threading.Event()
        self.sessions: list[Told] = []
        self.benches: list[Told] = []
        self._threads = [threading.Thread(target=self._write) for _ in range(2)]
        self._threads += [threading.Thread(target=self._bench)]

    def _write(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            done = psql(self._port, "insert into hits values (1) returning inet_server_port()")
            self.sessions.append(Told(began, time.monotonic(), done.stdout.strip() if done.returncode == 0 else "", done.stderr))
            if done.returncode:
                self._stopped.wait(0.02)        # as a client would

    def _bench(self) -> None:
        command = [postgres_program("pgbench"), "-h", "127.0.0.1", "-p", str(self._port), "-U", "app"]
        while not self._stopped.is_set():
            began = time.monotonic()
            done = subprocess.run([*command, "-n", "-C", "-c", "2", "-t", "20", "postgres"], stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, timeout=60, check=False)
            self.benches.append(Told(began, time.monotonic(), "any" if done.returncode == 0 else "", done.stderr))
            if done.returncode:
                self._stopped.wait(0.02)

    def written(self, port: int) -> int:
        return sum(told.server == str(port) for told in self.sessions)

    def whole_since(self, then: float) -> int:
        """Runs of pgbench that began later and went through."""
        return sum(told.began > then and told.server != "" for told in self.benches)

    def __enter__(self) -> Clients:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join(60)


def test_the_primary_moves(postgres: Rig, pair: PostgresPair) -> None:
    """Acceptance 4. The primary is stopped under load, the replica promoted, and later the old primary comes back as its replica."""
    old, new = pair.primary, pair.replica
    old.sql("create table hits (n int)")
    until(lambda: new.sql("select to_regclass('hits')") == "hits", "the replica has the table")
    with Clients(postgres.primary) as clients:
        until(lambda: clients.written(old.port) >= 20 and clients.whole_since(0) >= 2, "they write")
        with dial(postgres.primary) as silent:
            old.stop()
            asked = time.monotonic()
            new.promote()
            promoted = time.monotonic()
            until(lambda: clients.written(new.port) >= 20 and clients.whole_since(promoted) >= 2, "they write to the new primary")
            assert is_closed(silent), "a session that says nothing does not stay behind"
        old.follow(new)
        until(lambda: postgres.up("replicas") == {old.address}, "the old primary serves as a replica")
        back = time.monotonic()
        until(lambda: clients.whole_since(back) >= 2, "they go on")
    first_s = min(told.ended for told in clients.sessions if told.server == str(new.port)) - asked
    everything = (*clients.sessions, *clients.benches)
    failed = [told for told in everything if not told.server]
    print(f"\nthe first write to the new primary ended {first_s:.2f} s after pg_ctl was told to promote it, which took "
          f"{promoted - asked:.2f} s; {len(failed)} of {len(everything)} sessions and runs of pgbench failed meanwhile")
    assert [told for told in failed if told.began > promoted + NOTICED_S] == [], "from then on all of them reach it"
    assert {told.server for told in clients.sessions} <= {str(old.port), str(new.port), ""}
    assert [told for told in failed if "read-only" in told.said] == [], "nobody who writes has ever met a replica"
    assert int(new.sql("select count(*) from hits")) >= clients.written(new.port)
    for _ in range(8):
        assert psql(postgres.primary, WHERE).stdout == f"{new.port} false\n"
        assert psql(postgres.replicas, WHERE).stdout == f"{old.port} true\n"
    assert postgres.up("primary") == {new.address}


class Impatient:
    """Clients that connect from before the port is there: how many of them a PostgreSQL has answered, and how many were turned away."""

    SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"

    def __init__(self, port: int) -> None:
        self.port, self.answered, self.refused = port, 0, 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stopped.wait(0.001):
            try:
                with dial(self.port) as client:
                    client.sendall(self.SSL_REQUEST)
                    answered = client.recv(1) != b""
            except ConnectionRefusedError:
                continue        # nobody listens yet
            except ConnectionError:
                answered = False
            self.answered += answered
            self.refused += not answered

    def __enter__(self) -> Impatient:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join(20)


def test_replicas_are_never_the_primary(postgres: Rig, pair: PostgresPair, tmp_path: Path) -> None:
    """With the only replica gone, sessions for replicas are refused; not even at its start does proxyd guess."""
    replica = pair.replica
    replica.stop()
    until(lambda: postgres.up("replicas") == set(), "it is taken out")
    for _ in range(8):
        assert psql(postgres.replicas, WHERE).stdout == ""
    assert psql(postgres.primary, WHERE).stdout == f"{pair.primary.port} false\n"
    (tmp_path / "second").mkdir()
    with Impatient(free_port()) as impatient:
        second = Rig(tmp_path / "second", [pair.one.address, pair.two.address], postgres_check, impatient.port)
        with ending(second.proxyd):
            for _ in range(8):
                assert psql(second.replicas, WHERE).stdout == ""
            assert second.proxyd.end() == 0
    assert impatient.refused > 0
    assert impatient.answered == 0, "of those who came as soon as the port was there"
    replica.start()
    until(lambda: postgres.up("replicas") == {replica.address}, "it is back")
    assert psql(postgres.replicas, WHERE).stdout == f"{replica.port} true\n"


def test_unless_told_to(pair: PostgresPair, tmp_path: Path) -> None:
    """`role: any` for those who only read: both serve."""
    rig = Rig(tmp_path, [pair.one.address, pair.two.address], lambda role: postgres_check(role.replace("replica", "any")))
    with ending(rig.proxyd):
        until_checked(rig.proxyd, 3)
        told = Counter(psql(rig.replicas, WHERE).stdout for _ in range(8))
        assert told == {f"{pair.primary.port} false\n": 4, f"{pair.replica.port} true\n": 4}
        assert rig.proxyd.end() == 0


def test_the_example_for_postgres(pair: PostgresPair, tmp_path: Path) -> None:
    primary, replicas = free_port(), free_port()
    pair.primary.sql("create role proxyd_check login")
    until(lambda: pair.replica.sql("select count(*) from pg_roles where rolname = 'proxyd_check'") == "1", "the replica knows it")
    proxyd = Proxyd(tmp_path, example("postgres", {
        '":5432"': f"'127.0.0.1:{primary}'", '":5433"': f"'127.0.0.1:{replicas}'", "10.0.0.0/8": "127.0.0.0/8",
        "10.0.1.11:5432": pair.one.address, "10.0.1.12:5432": pair.two.address, "10.0.1.13:5432": f"127.0.0.1:{free_port()}",
    }))
    with ending(proxyd):
        until_checked(proxyd, 2)
        assert psql(primary, WHERE).stdout == f"{pair.primary.port} false\n"
        assert psql(replicas, WHERE).stdout == f"{pair.replica.port} true\n"
        assert proxyd.end() == 0


# ---------------------------------------------------------------------- Redis
class RedisPair:
    def __init__(self, folder: Path) -> None:
        self.one, self.two = Redis(folder, "one"), Redis(folder, "two")

    def start(self) -> None:
        self.one.start()
        self.two.start()
        self.two.follow(self.one)


@pytest.fixture
def redises(tmp_path: Path) -> Iterator[RedisPair]:
    pair = RedisPair(tmp_path)
    with pair.one, pair.two:
        pair.start()
        yield pair


@pytest.fixture
def redis(redises: RedisPair, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path, [redises.one.address, redises.two.address], lambda role: f"redis: {role}")
    with ending(rig.proxyd):
        until(lambda: (rig.up("primary"), rig.up("replicas")) == ({redises.one.address}, {redises.two.address}), "the roles are known")
        yield rig
        assert rig.proxyd.end() == 0


def redis_cli(port: int, *words: str) -> str:
    command = [needed("redis-cli"), "-h", "127.0.0.1", "-p", str(port), *words]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False).stdout.strip()


def whose(port: int) -> str:
    """The port of the Redis that a new connection meets; "" when it meets none."""
    found = re.search(r"^tcp_port:(\d+)", redis_cli(port, "INFO", "server"), re.MULTILINE)
    return found[1] if found else ""


def test_redis_cli_and_redis_benchmark(redis: Rig, redises: RedisPair) -> None:
    assert redis_cli(redis.primary, "SET", "greeting", "hello") == "OK"
    assert redis_cli(redis.primary, "GET", "greeting") == "hello"
    until(lambda: redis_cli(redis.replicas, "GET", "greeting") == "hello", "the replica has it, too")
    assert {whose(redis.primary) for _ in range(6)} == {str(redises.one.port)}
    assert {whose(redis.replicas) for _ in range(6)} == {str(redises.two.port)}
    assert redis_cli(redis.replicas, "SET", "greeting", "no").startswith("READONLY")
    large = "x" * 3_000_000
    command = [needed("redis-cli"), "-h", "127.0.0.1", "-p", str(redis.primary), "-x", "SET", "large"]
    done = subprocess.run(command, input=large, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "OK\n"
    assert redis_cli(redis.primary, "GET", "large") == large
    for more in ([], ["-P", "16"], ["-k", "0", "-c", "10"]):
        count = "2000" if "-k" in more else "20000"        # a connection for each request
        command = [needed("redis-benchmark"), "-h", "127.0.0.1", "-p", str(redis.primary), "-n", count, "-t", "set,get", "-q", *more]
        bench = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
        assert bench.returncode == 0, bench.stdout + bench.stderr
        rates = re.findall(r"(SET|GET): ([0-9.]+) requests per second", bench.stdout)
        assert [name for name, _ in rates] == ["SET", "GET"], bench.stdout + bench.stderr
        assert "rror" not in bench.stdout + bench.stderr
        print("\nredis-benchmark", *more, *(f"{name} {float(rate):.0f}/s" for name, rate in rates))


def test_the_redis_primary_moves(redis: Rig, redises: RedisPair) -> None:
    """By hand, as a failover of Sentinel does it: the replica becomes a primary, and the old primary its replica."""
    one, two = redises.one, redises.two
    with dial(redis.primary) as session, dial(redis.replicas) as reader:
        for connection in (session, reader):
            connection.sendall(b"PING\r\n")
            assert exactly(connection, 7) == b"+PONG\r\n"
        two.lead()
        one.follow(two)
        moved = time.monotonic()
        for connection in (session, reader):
            connection.settimeout(NOTICED_S)
            assert is_closed(connection), "who is at a server that has another role now is sent away"
        assert time.monotonic() - moved < NOTICED_S
    until(lambda: redis.up("primary") == {two.address} and redis.up("replicas") == {one.address}, "both are known")
    assert time.monotonic() - moved < NOTICED_S
    print(f"\nboth roles were known {time.monotonic() - moved:.2f} s after they had moved")
    assert {whose(redis.primary) for _ in range(6)} == {str(two.port)}
    assert {whose(redis.replicas) for _ in range(6)} == {str(one.port)}
    assert redis_cli(redis.primary, "SET", "greeting", "hello") == "OK"
    # And when the new primary dies and the old one takes over again:
    two.kill()
    one.lead()
    moved = time.monotonic()
    until(lambda: redis_cli(redis.primary, "SET", "greeting", "again") == "OK", "somebody takes it")
    until(lambda: redis.up("replicas") == set(), "there is no replica now")
    assert time.monotonic() - moved < NOTICED_S
    assert whose(redis.replicas) == ""


def test_the_example_for_redis(redises: RedisPair, tmp_path: Path) -> None:
    primary, replicas = free_port(), free_port()
    proxyd = Proxyd(tmp_path, example("redis", {
        '":6379"': f"'127.0.0.1:{primary}'", '":6380"': f"'127.0.0.1:{replicas}'", "10.0.0.0/8": "127.0.0.0/8",
        "10.0.2.11:6379": redises.one.address, "10.0.2.12:6379": redises.two.address, "10.0.2.13:6379": f"127.0.0.1:{free_port()}",
    }))
    with ending(proxyd):
        until_checked(proxyd, 2)
        assert whose(primary) == str(redises.one.port)
        assert whose(replicas) == str(redises.two.port)
        assert proxyd.end() == 0
