"""Sticky sessions and pinned splits: the same server for the same client, until that server cannot be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from proxyd_ext.snapshot.spec import ProxyAction, RouteSpec, SplitSpec, StickySpec, TargetSpec, UpstreamSpec
from tests.support.engine import Rig, get
from tests.support.wire import Message, Origin, Peer

COOKIE = StickySpec("cookie", "srv", attributes="; Path=/; HttpOnly")


def sticky(rig: Rig, spec: StickySpec, origins: Sequence[Origin], **settings: Any) -> UpstreamSpec:
    app = rig.upstream(*origins, sticky=spec, **settings)
    return replace(app, members=[replace(member, sticky_id=b"id-%d" % number) for number, member in enumerate(app.members)])


def serve(rig: Rig, spec: StickySpec, count: int = 3, **settings: Any) -> list[Origin]:
    origins = [rig.origin().serve() for _ in range(count)]
    rig.publish([RouteSpec("all", ProxyAction([TargetSpec(0)]))], [sticky(rig, spec, origins, **settings)])
    return origins


def ask(client: Peer, *fields: str) -> Message:
    client.send(get("/", *fields))
    response = client.response()
    assert response.status == 200
    return response


def test_a_cookie_is_set_and_followed(rig: Rig) -> None:
    origins = serve(rig, COOKIE)
    client = rig.connect()
    first = ask(client)
    number = [origin.label.encode() for origin in origins].index(first.body)
    assert first.all("set-cookie") == [f"srv=id-{number}; Path=/; HttpOnly"]
    for _ in range(10):
        answer = ask(client, f"Cookie: a=b; srv=id-{number}")
        assert answer.body == first.body
        assert answer.all("set-cookie") == []


@pytest.mark.parametrize("value", ["", "id-3", "id-", "x" * 65, "../../etc", "id-0\x80"])
def test_a_cookie_that_names_nobody(rig: Rig, value: str) -> None:
    """Is as good as none: the balancer chooses, and the answer brings a good one."""
    serve(rig, COOKIE)
    answer = ask(rig.connect(), f"Cookie: srv={value}")
    assert answer.all("set-cookie")[0].startswith("srv=id-")


@pytest.mark.parametrize("reason", ["health", "drain", "maint"])
def test_a_server_that_is_down_or_draining_is_left(rig: Rig, reason: Any) -> None:
    origins = serve(rig, COOKIE)
    rig.server("app", origins[1]).set_down(reason, True)
    answer = ask(rig.connect(), "Cookie: srv=id-1")
    assert answer.body != origins[1].label.encode()
    assert answer.all("set-cookie")[0] in ("srv=id-0; Path=/; HttpOnly", "srv=id-2; Path=/; HttpOnly")


def test_a_server_that_fails_is_left_within_the_exchange(rig: Rig) -> None:
    origins = serve(rig, COOKIE)
    origins[1].refuse()
    answer = ask(rig.connect(), "Cookie: srv=id-1")
    assert answer.all("set-cookie")[0] in ("srv=id-0; Path=/; HttpOnly", "srv=id-2; Path=/; HttpOnly")


def test_a_cookie_of_the_application(rig: Rig) -> None:
    """Ours goes with theirs: whoever the server gives a session gets the cookie that leads back to it, and nobody else."""
    spec = StickySpec("app_cookie", "srv", follows="JSESSIONID")
    origins = [rig.origin() for _ in range(2)]
    for origin in origins:
        body = origin.label.encode()

        def answer(request: Message, body: bytes = body) -> bytes:
            session = b"Set-Cookie: JSESSIONID=s1; Path=/\r\n" if request.target == "/login" else b"Set-Cookie: JSESSIONIDX=no\r\n"
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), session, body)

        origin.serve(answer)
    rig.publish([RouteSpec("all", ProxyAction([TargetSpec(0)]))], [sticky(rig, spec, origins)])
    client = rig.connect()
    assert ask(client).all("set-cookie") == ["JSESSIONIDX=no"]
    client.send(get("/login"))
    login = client.response()
    number = [origin.label.encode() for origin in origins].index(login.body)
    assert login.all("set-cookie") == ["JSESSIONID=s1; Path=/", f"srv=id-{number}"]
    for _ in range(6):
        answer_ = ask(client, f"Cookie: JSESSIONID=s1; srv=id-{number}")
        assert (answer_.body, answer_.all("set-cookie")) == (login.body, ["JSESSIONIDX=no"])


def test_by_a_header(rig: Rig) -> None:
    """The same value goes to the same server under any balancer; without the field the balancer chooses."""
    origins = serve(rig, StickySpec("key", hash_key="header", hash_name="X-User"), 4, balance="round_robin")
    client = rig.connect()
    homes = {user: ask(client, f"X-User: {user}").body for user in map(str, range(40))}
    assert len(set(homes.values())) == 4
    for user, home in homes.items():
        assert ask(client, f"X-User: {user}").body == home
    assert Counter(ask(client).body for _ in range(8)) == {origin.label.encode(): 2 for origin in origins}
    gone = origins[2]
    rig.server("app", gone).set_down("health", True)
    for user, home in homes.items():
        now = ask(client, f"X-User: {user}").body
        assert (now == home) == (home != gone.label.encode())


def test_by_the_clients_address(rig: Rig) -> None:
    serve(rig, StickySpec("key", hash_key="client.ip"), 4)
    bodies = {source: {ask(rig.connect(source=source)).body for _ in range(4)} for source in ("127.0.0.2", "127.0.0.3", "127.0.0.4")}
    assert all(len(found) == 1 for found in bodies.values())


def test_ip_hash_looks_at_the_network(rig: Rig) -> None:
    """nginx's ip_hash: the first three octets."""
    serve(rig, COOKIE, 4, balance="hash", hash_key="client.net")
    assert len({ask(rig.connect(source=f"127.0.0.{host}")).body for host in range(2, 12)}) == 1
    assert len({ask(rig.connect(source=f"127.0.{net}.1")).body for net in range(40)}) > 1


def split(rig: Rig, spec: SplitSpec, weights: Sequence[int] = (50, 50)) -> list[Origin]:
    origins = [rig.origin().serve() for _ in weights]
    upstreams = [rig.upstream(origin, name=f"app-{number}") for number, origin in enumerate(origins)]
    action = ProxyAction([TargetSpec(number, weight) for number, weight in enumerate(weights)], split=spec)
    rig.publish([RouteSpec("all", action)], upstreams)
    return origins


def test_a_split_pinned_by_cookie(rig: Rig) -> None:
    origins = split(rig, SplitSpec("cookie", "branch", "; Path=/"))
    client = rig.connect()
    seen = Counter[int]()
    for _ in range(40):
        answer = ask(client)
        number = [origin.label.encode() for origin in origins].index(answer.body)
        assert answer.all("set-cookie") == [f"branch=app-{number}; Path=/"]
        seen[number] += 1
        again = ask(client, f"Cookie: branch=app-{number}")
        assert (again.body, again.all("set-cookie")) == (answer.body, [])
    assert min(seen[0], seen[1]) >= 4
    assert ask(client, "Cookie: branch=app-9").all("set-cookie")


def test_a_branch_without_weight_is_no_branch(rig: Rig) -> None:
    """Whoever was pinned to a branch that is switched off goes to the others, and is told."""
    origins = split(rig, SplitSpec("cookie", "branch"), (100, 0))
    answer = ask(rig.connect(), "Cookie: branch=app-1")
    assert (answer.body, answer.all("set-cookie")) == (origins[0].label.encode(), ["branch=app-0"])


def test_a_split_pinned_by_header(rig: Rig) -> None:
    origins = split(rig, SplitSpec("header", "x-user"), (90, 10))
    client = rig.connect()
    homes = {user: ask(client, f"X-User: {user}").body for user in map(str, range(300))}
    shares = Counter(homes.values())
    assert 230 <= shares[origins[0].label.encode()] <= 295
    for user in list(homes)[:40]:
        assert ask(client, f"X-User: {user}").body == homes[user]
