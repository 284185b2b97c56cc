"""Every way in which a server can fail, by method, state of the connection and number of servers: what becomes of the request.

The first server is a `FaultProxy` (tests/support/fault_proxy.py, which says what each fault is) before an origin that counts what it
executes; the second, where there is one, is sound. One row states a cell, or several where it has `*`:

    conn       the connection to the first server: a fresh one, or one that has served before
    n          how many servers there are
    client     the status that the client gets; `=503`: in the server's own answer; `cut`: an answer has begun and visibly is not whole
    exec       how often the first origin executed the request, and how often the second did
    error      the fault in the access record (as RFC 9209 type and sentence) and in the route's counters, by its word; `-`: none
    tries      the access record's attempts
    errors     what the first server is charged with, in its counters and for its passive health: faults and 5xx
    retries    what the upstream counts as tried again, and why

What to read in it: a POST is executed at most once, in every row; an answer that has begun is never begun again; and a connection that had
served before and ends without a byte of an answer is charged to nobody: the server may have closed it while the request was on its way.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from proxyd_ext.core.fault import faults
from proxyd_ext.log import AccessLog
from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import RetrySpec
from tests.support.engine import Rig, get, post
from tests.support.fault_proxy import BUSY, FAULTS, FaultProxy, half_body, head, whole_size
from tests.support.records import read_records
from tests.support.wire import Message, Origin, Peer

HALF, REST = b"0123456789", b"abcdefghij"
STEP_MS, STEPS = 5_000, 40      # more than three tries take, each up to the longest of its timeouts

TABLE = """
fault                    conn   method n client exec error                   tries errors                  retries

refuse                   *      *      1 502    0+0  connect_refused         1     connect_refused         -
refuse                   *      *      2 200    0+1  -                       2     connect_refused         connect_refused
hang                     *      *      1 504    0+0  connect_timeout         1     connect_timeout         -
hang                     *      *      2 200    0+1  -                       2     connect_timeout         connect_timeout
reset_on_accept          fresh  *      1 502    0+0  connect_failed          1     connect_failed          -
reset_on_accept          fresh  *      2 200    0+1  -                       2     connect_failed          connect_failed
reset_on_accept          reused GET    1 502    0+0  connect_failed          2     connect_failed          upstream_reset
reset_on_accept          reused GET    2 200    0+1  -                       3     connect_failed          connect_failed,upstream_reset
reset_on_accept          reused POST   * 502    0+0  upstream_reset          1     -                       -

die                      fresh  GET    1 502    0+0  upstream_reset          1     upstream_reset          -
die                      fresh  GET    2 200    0+1  -                       2     upstream_reset          upstream_reset
die                      fresh  POST   * 502    0+0  upstream_reset          1     upstream_reset          -
die                      reused GET    1 502    0+0  connect_refused         2     connect_refused         upstream_reset
die                      reused GET    2 200    0+1  -                       3     connect_refused         connect_refused,upstream_reset
die                      reused POST   * 502    0+0  upstream_reset          1     -                       -

reset_lost               fresh  GET    1 502    0+0  upstream_reset          1     upstream_reset          -
reset_lost               fresh  GET    2 200    0+1  -                       2     upstream_reset          upstream_reset
reset_lost               fresh  POST   * 502    0+0  upstream_reset          1     upstream_reset          -
reset_lost               reused GET    1 502    0+0  upstream_reset          2     upstream_reset          upstream_reset
reset_lost               reused GET    2 200    0+1  -                       3     upstream_reset          2*upstream_reset
reset_lost               reused POST   * 502    0+0  upstream_reset          1     -                       -
reset                    fresh  GET    1 502    1+0  upstream_reset          1     upstream_reset          -
reset                    fresh  GET    2 200    1+1  -                       2     upstream_reset          upstream_reset
reset                    fresh  POST   * 502    1+0  upstream_reset          1     upstream_reset          -
reset                    reused GET    1 502    2+0  upstream_reset          2     upstream_reset          upstream_reset
reset                    reused GET    2 200    2+1  -                       3     upstream_reset          2*upstream_reset
reset                    reused POST   * 502    1+0  upstream_reset          1     -                       -
reset_once               fresh  GET    1 502    1+0  upstream_reset          1     upstream_reset          -
reset_once               fresh  GET    2 200    1+1  -                       2     upstream_reset          upstream_reset
reset_once               fresh  POST   * 502    1+0  upstream_reset          1     upstream_reset          -
reset_once               reused GET    * 200    2+0  -                       2     -                       upstream_reset
reset_once               reused POST   * 502    1+0  upstream_reset          1     -                       -

close_lost               fresh  GET    1 502    0+0  upstream_closed         1     upstream_closed         -
close_lost               fresh  GET    2 200    0+1  -                       2     upstream_closed         upstream_closed
close_lost               fresh  POST   * 502    0+0  upstream_closed         1     upstream_closed         -
close_lost               reused GET    1 502    0+0  upstream_closed         2     upstream_closed         upstream_closed
close_lost               reused GET    2 200    0+1  -                       3     upstream_closed         2*upstream_closed
close_lost               reused POST   * 502    0+0  upstream_closed         1     -                       -
close                    fresh  GET    1 502    1+0  upstream_closed         1     upstream_closed         -
close                    fresh  GET    2 200    1+1  -                       2     upstream_closed         upstream_closed
close                    fresh  POST   * 502    1+0  upstream_closed         1     upstream_closed         -
close                    reused GET    1 502    2+0  upstream_closed         2     upstream_closed         upstream_closed
close                    reused GET    2 200    2+1  -                       3     upstream_closed         2*upstream_closed
close                    reused POST   * 502    1+0  upstream_closed         1     -                       -
close_once               fresh  GET    1 502    1+0  upstream_closed         1     upstream_closed         -
close_once               fresh  GET    2 200    1+1  -                       2     upstream_closed         upstream_closed
close_once               fresh  POST   * 502    1+0  upstream_closed         1     upstream_closed         -
close_once               reused GET    * 200    2+0  -                       2     -                       upstream_closed
close_once               reused POST   * 502    1+0  upstream_closed         1     -                       -

stall                    *      *      * 504    1+0  first_byte_timeout      1     first_byte_timeout      -
stall_lost               *      *      * 504    0+0  first_byte_timeout      1     first_byte_timeout      -

close_in_head            *      GET    1 502    1+0  upstream_closed         1     upstream_closed         -
close_in_head            *      GET    2 200    1+1  -                       2     upstream_closed         upstream_closed
close_in_head            *      POST   * 502    1+0  upstream_closed         1     upstream_closed         -
stall_in_head            *      *      * 504    1+0  first_byte_timeout      1     first_byte_timeout      -

reset_after_head         *      *      * cut    1+0  upstream_truncated      1     upstream_truncated      -
reset_after_head_chunked *      *      * cut    1+0  upstream_truncated      1     upstream_truncated      -
close_after_head         *      *      * cut    1+0  upstream_truncated      1     upstream_truncated      -
close_after_head_chunked *      *      * cut    1+0  upstream_truncated      1     upstream_truncated      -
stall_after_head         *      *      * cut    1+0  read_timeout            1     read_timeout            -

close_in_body            *      *      * cut    1+0  upstream_truncated      1     upstream_truncated      -
close_in_body_chunked    *      *      * cut    1+0  upstream_truncated      1     upstream_truncated      -
reset_in_body            *      *      * cut    1+0  upstream_truncated      1     upstream_truncated      -
reset_in_body_chunked    *      *      * cut    1+0  upstream_truncated      1     upstream_truncated      -
stall_in_body            *      *      * cut    1+0  read_timeout            1     read_timeout            -

garbage                  *      *      * 502    1+0  upstream_head_malformed 1     upstream_head_malformed -
two_lengths              *      *      * 502    1+0  upstream_framing        1     upstream_framing        -
garbage_chunk            *      *      * cut    1+0  upstream_chunk          1     upstream_chunk          -

slow                     *      *      * 200    1+0  -                       1     -                       -
slow_chunked             *      *      * 200    1+0  -                       1     -                       -
close_after_answer       *      *      * 200    1+0  -                       1     -                       -
busy                     *      *      * =503   1+0  -                       1     503                     -
"""

# Nothing is a reason to try again; only the race of a connection that had served before is not the request's own failure.
NONE = """
fault                    conn   method n client exec error                   tries errors                  retries


refuse                   *      *      * 502    0+0  connect_refused         1     connect_refused         -
hang                     *      *      * 504    0+0  connect_timeout         1     connect_timeout         -
reset                    fresh  *      * 502    1+0  upstream_reset          1     upstream_reset          -
reset                    reused GET    * 502    2+0  upstream_reset          2     upstream_reset          upstream_reset
reset                    reused POST   * 502    1+0  upstream_reset          1     -                       -
reset_once               reused GET    * 200    2+0  -                       2     -                       upstream_reset
reset_once               reused POST   * 502    1+0  upstream_reset          1     -                       -
close_in_head            *      *      * 502    1+0  upstream_closed         1     upstream_closed         -
busy                     *      *      * =503   1+0  -                       1     503                     -
"""

# Timeouts and 5xx are reasons, too, but for what is idempotent only, and never once an answer has begun.
MORE = """
fault                    conn   method n client exec error                   tries errors                  retries


stall                    *      GET    1 504    1+0  first_byte_timeout      1     first_byte_timeout      -
stall                    *      GET    2 200    1+1  -                       2     first_byte_timeout      first_byte_timeout
stall                    *      POST   * 504    1+0  first_byte_timeout      1     first_byte_timeout      -
stall_lost               *      GET    1 504    0+0  first_byte_timeout      1     first_byte_timeout      -
stall_lost               *      GET    2 200    0+1  -                       2     first_byte_timeout      first_byte_timeout
stall_lost               *      POST   * 504    0+0  first_byte_timeout      1     first_byte_timeout      -
stall_in_head            *      GET    1 504    1+0  first_byte_timeout      1     first_byte_timeout      -
stall_in_head            *      GET    2 200    1+1  -                       2     first_byte_timeout      first_byte_timeout
stall_in_head            *      POST   * 504    1+0  first_byte_timeout      1     first_byte_timeout      -
stall_after_head         *      *      * cut    1+0  read_timeout            1     read_timeout            -
stall_in_body            *      *      * cut    1+0  read_timeout            1     read_timeout            -

busy                     *      GET    1 =503   1+0  -                       1     503                     -
busy                     *      GET    2 200    1+1  -                       2     503                     503
busy                     *      POST   * =503   1+0  -                       1     503                     -
garbage                  *      *      * 502    1+0  upstream_head_malformed 1     upstream_head_malformed -
"""

# As above, and with a wait before each retry: then the same server may be asked again, when there is no other.
PATIENT = """
fault                    conn   method n client exec error                   tries errors                  retries


refuse                   *      *      1 502    0+0  connect_refused         3     3*connect_refused       2*connect_refused
refuse                   *      *      2 200    0+1  -                       2     connect_refused         connect_refused
hang                     *      *      1 504    0+0  connect_timeout         3     3*connect_timeout       2*connect_timeout
hang                     *      *      2 200    0+1  -                       2     connect_timeout         connect_timeout
reset                    fresh  GET    1 502    3+0  upstream_reset          3     3*upstream_reset        2*upstream_reset
reset                    fresh  GET    2 200    1+1  -                       2     upstream_reset          upstream_reset
reset                    fresh  POST   * 502    1+0  upstream_reset          1     upstream_reset          -
reset                    reused GET    1 502    4+0  upstream_reset          4     3*upstream_reset        3*upstream_reset
reset                    reused GET    2 200    2+1  -                       3     upstream_reset          2*upstream_reset
reset                    reused POST   * 502    1+0  upstream_reset          1     -                       -
reset_once               fresh  GET    1 200    2+0  -                       2     upstream_reset          upstream_reset
reset_once               fresh  GET    2 200    1+1  -                       2     upstream_reset          upstream_reset
reset_once               fresh  POST   * 502    1+0  upstream_reset          1     upstream_reset          -
reset_once               reused GET    * 200    2+0  -                       2     -                       upstream_reset
reset_once               reused POST   * 502    1+0  upstream_reset          1     -                       -
close_in_head            *      GET    1 502    3+0  upstream_closed         3     3*upstream_closed       2*upstream_closed
close_in_head            *      GET    2 200    1+1  -                       2     upstream_closed         upstream_closed
close_in_head            *      POST   * 502    1+0  upstream_closed         1     upstream_closed         -
stall                    *      GET    1 504    3+0  first_byte_timeout      3     3*first_byte_timeout    2*first_byte_timeout
stall                    *      GET    2 200    1+1  -                       2     first_byte_timeout      first_byte_timeout
stall                    *      POST   * 504    1+0  first_byte_timeout      1     first_byte_timeout      -
busy                     *      GET    1 =503   3+0  -                       3     3*503                   2*503
busy                     *      GET    2 200    1+1  -                       2     503                     503
busy                     *      POST   * =503   1+0  -                       1     503                     -
reset_in_body            *      *      * cut    1+0  upstream_truncated      1     upstream_truncated      -
"""

POLICIES = {
    "default": RetrySpec(),
    "none": RetrySpec(attempts=0, connect_failure=False, reset=False),
    "more": RetrySpec(timeout=True, statuses=((500, 599),)),
    "patient": RetrySpec(timeout=True, statuses=((500, 599),), backoff_ms=25, jitter=False),
}
CONNECTIONS, METHODS, SERVERS = ("fresh", "reused"), ("GET", "POST"), ("1", "2")


@dataclass(frozen=True, slots=True)
class Cell:
    fault: str
    connection: str
    method: str
    servers: str
    policy: str = "default"

    def __str__(self) -> str:
        return f"{self.policy}-{self.fault}-{self.connection}-{self.method}-{self.servers}"


@dataclass(frozen=True, slots=True)
class Outcome:
    client: str
    executed: str
    error: str
    tries: str
    errors: str
    retries: str

    def __str__(self) -> str:
        return self.client


def takes_time(cell: Cell) -> bool:
    return FAULTS[cell.fault].takes_time or POLICIES[cell.policy].backoff_ms > 0


def has_ended(client: Peer) -> bool:
    """Whether the client has got a whole answer, or will get no more."""
    return whole_size(client.got()) > 0 or client.eof or client.broken


def answer(request: Message) -> bytes:
    if request.target == "/chunked":
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (HALF, REST))
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(HALF + REST) + HALF + REST


def words(counts: dict[str, int]) -> str:
    return ",".join(word if count == 1 else f"{count}*{word}" for word, count in sorted(counts.items())) or "-"


class Scene:
    """One server or two, one request of interest (`/cell`, `/chunked`), and what everybody has to say of it."""

    def __init__(self, rig: Rig, cell: Cell, log: Path) -> None:
        self.rig, self.cell, self.log = rig, cell, log
        self.fault = FAULTS[cell.fault]
        self.target = "/chunked" if self.fault.chunked else "/cell"
        self.origins = [rig.origin().serve(answer) for _ in range(2)]
        self.proxy = FaultProxy(rig, self.origins[0])
        rig.origins.append(self.proxy)
        rig.serve(*self.servers, target={"retry": POLICIES[cell.policy]})
        with log.open("wb") as file:
            self.access = AccessLog(file.fileno(), "json", len(rig.engines))
        self.access.start()
        self._log_from_now()

    def _log_from_now(self) -> None:
        self.rig.generation += 1
        assert self.rig.spec is not None
        snapshot = Snapshot(replace(self.rig.spec, generation=self.rig.generation))
        for engine in self.rig.engines:
            engine.publish(snapshot, self.access)
        for _ in self.rig.engines:
            self.rig.event("ack", self.rig.generation)

    def records(self, count: int) -> list[dict[str, Any]]:
        self.rig.until(lambda: self.access.written >= count, f"{count} records")
        self.access.flush()
        return read_records(self.log.read_bytes())

    def executed(self, target: str) -> list[int]:
        return [sum(request.target == target for request in origin.requests) for origin in self.origins]

    def executions(self) -> str:
        """Of the request that it is about, by the first origin and by the second."""
        return "+".join(str(count) for count in self.executed(self.target))

    def _prime(self, client: Peer) -> None:
        """Each server has answered once, so that the next is the first one's turn again, on a connection that has served."""
        for _ in range(len(self.servers)):
            client.send(get("/prime"))
            assert client.response().body == HALF + REST
        assert self.executed("/prime") == [1, len(self.servers) - 1]
        for server in self.servers:
            self.rig.until(partial(self._parked, server), "the connection is parked")

    def _parked(self, server: Origin) -> bool:
        return self.rig.of(server)["connections_idle"] == 1

    @property
    def servers(self) -> list[Origin]:
        return [self.proxy, self.origins[1]] if self.cell.servers == "2" else [self.proxy]

    def _sees(self, client: Peer) -> Callable[[], bool]:
        """Whether the client has got what the fault lets through, so that an end that comes after it cannot overtake it."""
        if self.fault.passes is head:
            return lambda: b"\r\n\r\n" in client.got()
        if self.fault.passes is half_body:
            return lambda: HALF in client.got()
        return lambda: True

    def play(self) -> Outcome:
        client = self.rig.connect()
        if self.cell.connection == "reused":
            self._prime(client)
        self.proxy.ripe = self._sees(client)
        self.proxy.strike(self.fault)
        if self.fault.before_request:
            self.rig.until(lambda: self.rig.of(self.proxy)["connections_idle"] == 0, "the pool knows")
        client.send(get(self.target) if self.cell.method == "GET" else post(self.target, b"body"))
        if takes_time(self.cell):
            self._wait_for_an_end(client)
        seen = self._seen(client)
        before = len(self.servers) if self.cell.connection == "reused" else 0
        [record] = self.records(before + 1)[before:]
        outcome = Outcome(
            client=seen,
            executed=self.executions(),
            error=words(self.rig.errors()),
            tries=str(record["attempts"]),
            errors=words(self._charges()),
            retries=words(self.rig.states["app"].stats()["retries"]),
        )
        self._agree(record, outcome)
        return outcome

    def _wait_for_an_end(self, client: Peer) -> None:
        """Timeouts pass and backoffs with them, one after the other, each when everybody has done what was to be done before."""
        for _ in range(STEPS):
            self.rig.advance(STEP_MS)
            if has_ended(client):
                return
        raise AssertionError("no end for the client")

    def _seen(self, client: Peer) -> str:
        self.rig.until(lambda: has_ended(client), "an end for the client")
        status = int(client.received[9:12])
        if not whole_size(client.received):
            assert status == 200, bytes(client.received)
            return "cut"
        response = client.response()
        if status == 200:
            assert response.body == HALF + REST
        elif response.field("proxy-status") is None:
            assert response.body == BUSY
            return f"={status}"
        return str(status)

    def _charges(self) -> dict[str, int]:
        """Against the first server."""
        stats = self.rig.of(self.proxy)
        return stats["errors"] | {str(status): count for status, count in stats["requests"].items() if status >= 500}

    def _agree(self, record: dict[str, Any], outcome: Outcome) -> None:
        """The log, the counters and the fields of an error answer say the same."""
        status = 200 if outcome.client == "cut" else int(outcome.client.removeprefix("="))
        assert outcome.tries == str(1 + sum(self.rig.states["app"].stats()["retries"].values()))
        assert (record["path"], record["method"], record["status"]) == (self.target, self.cell.method, status)
        known = faults().get(outcome.error, {"proxy_error": None, "sentence": None})
        assert (record.get("error"), record.get("why")) == (known["proxy_error"], known["sentence"])
        primed = len(self.servers) if self.cell.connection == "reused" and (self.cell.method, status) == ("GET", 200) else 0
        self.rig.counted(self.cell.method, status, primed + 1)
        if self.cell.servers == "2":
            assert self.rig.of(self.origins[1])["errors"] == {}
        charged = sum(self._charges().values()) if (record["server"], outcome.client) != (self.proxy.label, "200") else 0
        assert self.rig.server("app", self.proxy).state()["consecutive_failures"] == charged

    def is_over(self) -> None:
        """The server is well again: nothing of the fault is left in pools or health, and the next requests are served."""
        self.proxy.recover()
        client = self.rig.connect()
        for _ in self.servers:
            client.send(get("/after"))
            assert client.response().body == HALF + REST
        assert sum(self.executed("/after")) == len(self.servers)
        self.access.stop()


def rows(table: str, policy: str) -> Iterator[tuple[Cell, Outcome]]:
    """The cells of a table, with what must become of them."""
    for line in table.splitlines()[2:]:
        if not line:
            continue
        fault, connection, method, servers, *outcome = line.split()
        every = [names if word == "*" else (word,) for names, word in ((CONNECTIONS, connection), (METHODS, method), (SERVERS, servers))]
        for chosen in itertools.product(*every):
            yield Cell(fault, chosen[0], chosen[1], chosen[2], policy), Outcome(*outcome)


DEFAULTS = list(rows(TABLE, "default"))
OTHERS = [row for policy, table in (("none", NONE), ("more", MORE), ("patient", PATIENT)) for row in rows(table, policy)]
# What takes time needs a clock that the test moves, and only one thread decides for sure who comes first.
ANYWHERE = [(cell, outcome) for cell, outcome in DEFAULTS if not takes_time(cell) and FAULTS[cell.fault].accepts]


def test_the_tables_are_whole() -> None:
    """Every cell stands in the first one, once; in the others no cell stands twice."""
    wanted = [Cell(*each) for each in itertools.product(FAULTS, CONNECTIONS, METHODS, SERVERS)]
    assert Counter(cell for cell, _ in DEFAULTS) == Counter(wanted)
    assert max(Counter(cell for cell, _ in OTHERS).values()) == 1


def test_no_post_is_executed_twice() -> None:
    """Each cell below is held to these figures; here all of them at one glance."""
    executed = [sum(map(int, outcome.executed.split("+"))) for cell, outcome in DEFAULTS + OTHERS if cell.method == "POST"]
    assert len(executed) == (len(DEFAULTS) + len(OTHERS)) / 2
    assert max(executed) == 1


@pytest.mark.parametrize(("cell", "outcome"), DEFAULTS + OTHERS, ids=str)
def test_one_engine(clocked: Rig, cell: Cell, outcome: Outcome, tmp_path: Path) -> None:
    play(clocked, cell, outcome, tmp_path)


@pytest.mark.parametrize(("cell", "outcome"), ANYWHERE, ids=str)
def test_threads(threaded: Rig, cell: Cell, outcome: Outcome, tmp_path: Path) -> None:
    play(threaded, cell, outcome, tmp_path)


def play(rig: Rig, cell: Cell, outcome: Outcome, folder: Path) -> None:
    scene = Scene(rig, cell, folder / "access.log")
    assert scene.play() == outcome
    scene.is_over()
    assert scene.executions() == outcome.executed, "again, after all was over"
