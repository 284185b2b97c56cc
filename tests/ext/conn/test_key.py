"""Who the client is, what an origin is told of it, and the keys that a hash balancer hashes."""

from __future__ import annotations

import re

import pytest

from proxyd_ext.snapshot.spec import AccessFilter
from tests.support.engine import Rig, get
from tests.support.wire import Message

PSEUDONYM = re.compile(r"proxyd-[0-9a-f]{8}")


def forwarded(rig: Rig, *fields: str, trust: tuple[str, ...] = (), header: str = "", version: str = "1.1") -> Message:
    """The request as the origin gets it."""
    origin = rig.origin().serve()
    rig.serve(origin, trust=trust, client_ip_header=header)
    client = rig.connect()
    client.send(get("/", *fields, version=version))
    assert client.response().status == 200
    return origin.requests[-1]


def test_fields_from_a_stranger(rig: Rig) -> None:
    """Nothing of what it claims is passed on."""
    request = forwarded(
        rig,
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: evil",
        "X-Request-ID: mine",
        "Forwarded: for=1.2.3.4",
        "X-Real-IP: 1.2.3.4",
    )
    assert request.field("x-forwarded-for") == "127.0.0.1"
    assert request.field("x-forwarded-proto") == "http"
    assert request.field("x-forwarded-host") == "test"
    assert re.fullmatch(r"[0-9a-f]{16}", request.field("x-request-id") or "")
    assert request.field("forwarded") is None
    assert request.field("x-real-ip") is None


def test_fields_from_a_trusted_peer(rig: Rig) -> None:
    """They are kept, X-Forwarded-For with the peer added."""
    request = forwarded(
        rig,
        "X-Forwarded-For: 1.2.3.4",
        "X-Forwarded-For: 5.6.7.8",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: public",
        "X-Request-ID: mine",
        trust=("127.0.0.0/8",),
    )
    assert request.field("x-forwarded-for") == "1.2.3.4, 5.6.7.8, 127.0.0.1"
    assert request.field("x-forwarded-proto") == "https"
    assert request.field("x-forwarded-host") == "public"
    assert request.field("x-request-id") == "mine"


def test_chain_keeps_the_peer(rig: Rig) -> None:
    """Also when the client's address is read from X-Forwarded-For itself: the chain says through whom the request came."""
    request = forwarded(rig, "X-Forwarded-For: 203.0.113.9", trust=("127.0.0.0/8",), header="X-Forwarded-For")
    assert request.field("x-forwarded-for") == "203.0.113.9, 127.0.0.1"


def test_fields_that_a_trusted_peer_left_out(rig: Rig) -> None:
    request = forwarded(rig, trust=("127.0.0.1",))
    assert request.field("x-forwarded-for") == "127.0.0.1"
    assert request.field("x-forwarded-proto") == "http"
    assert request.field("x-forwarded-host") == "test"
    assert request.field("x-request-id")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_via(rig: Rig, version: str) -> None:
    """Added behind what stands there, with the version that we received (RFC 9110 §7.6.3)."""
    request = forwarded(rig, "Via: 1.1 first", "Via: 1.0 second", version=version)
    parts = (request.field("via") or "").split(", ")
    assert parts[:2] == ["1.1 first", "1.0 second"]
    assert parts[2].startswith(f"{version} ")
    assert PSEUDONYM.fullmatch(parts[2].split()[1])


@pytest.mark.parametrize("before", [(), ("Via: 1.1 other",), ("Via: 1.1 other, 1.0 more",)])
def test_loop(rig: Rig, before: tuple[str, ...]) -> None:
    """A request that carries our own pseudonym came back to us."""
    via = forwarded(rig).field("via")
    client = rig.connect()
    client.send(get("/", *before, f"Via: {via}, 1.1 behind"))
    response = client.response()
    assert response.status == 508
    assert response.field("proxy-status") == 'proxyd; error=proxy_loop_detected; details="loop"'
    assert len(rig.origins[0].requests) == 1


def test_loop_is_not_seen_in_a_likeness(rig: Rig) -> None:
    via = (forwarded(rig).field("via") or "").removeprefix("1.1 ")
    other = via[:-1] + ("0" if via[-1] != "0" else "1")
    client = rig.connect()
    client.send(get("/", f"Via: 1.1 {other}"))
    assert client.response().status == 200


def test_hop_by_hop_fields(rig: Rig) -> None:
    """Those of the connection go no further, nor do those that Connection names."""
    request = forwarded(
        rig,
        "Connection: keep-alive, X-Private",
        "X-Private: 1",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "TE: trailers, gzip",
        "Trailer: X-Sum",
        "X-Public: 1",
        "Proxy-Authorization: Basic eA==",
    )
    assert [
        name.lower() for name, _ in request.fields if name.lower() in ("connection", "x-private", "keep-alive", "proxy-connection")
    ] == []
    assert request.field("te") in (None, "trailers")
    assert request.field("x-public") == "1"


def test_hop_by_hop_fields_of_an_answer(rig: Rig) -> None:
    origin = rig.origin().serve(
        b"HTTP/1.1 200 OK\r\nConnection: X-Private, keep-alive\r\nX-Private: 1\r\nKeep-Alive: timeout=5\r\nX-Public: 1\r\n"
        b"Proxy-Connection: x\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n"
    )
    rig.serve(origin)
    client = rig.connect()
    client.send(get())
    assert [name for name, _ in client.response().fields] == ["X-Public", "Date", "Content-Length"]


def test_date_of_the_origin_is_kept(rig: Rig) -> None:
    origin = rig.origin().serve(b"HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Length: 0\r\n\r\n")
    rig.serve(origin)
    client = rig.connect()
    client.send(get())
    assert client.response().field("date") == "Thu, 01 Jan 1970 00:00:00 GMT"


@pytest.mark.parametrize(
    ("fields", "client"),
    [
        (["X-Forwarded-For: 203.0.113.9"], "203.0.113.9"),
        (["X-Forwarded-For: 198.51.100.1, 203.0.113.9"], "203.0.113.9"),
        (["X-Forwarded-For: 203.0.113.9, 10.1.1.1, 10.2.2.2"], "203.0.113.9"),
        (["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 10.1.1.1"], "203.0.113.9"),
        (["X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 203.0.113.9,10.1.1.1"], "203.0.113.9"),
        (["X-Forwarded-For: 10.3.3.3, 10.1.1.1"], "10.3.3.3"),
        (["X-Forwarded-For: 203.0.113.9, nonsense, 10.1.1.1"], "10.1.1.1"),
        (["X-Forwarded-For: nonsense"], "127.0.0.1"),
        (["X-Forwarded-For: 203.0.113.9, "], "127.0.0.1"),
        (["X-Forwarded-For:"], "127.0.0.1"),
        (["X-Forwarded-For: 2001:db8::1"], "2001:db8::1"),
        (["X-Forwarded-For: ::ffff:203.0.113.9"], "203.0.113.9"),
        ([], "127.0.0.1"),
    ],
)
def test_client_address_from_a_list(rig: Rig, fields: list[str], client: str) -> None:
    """The rightmost address that is not itself trusted; nothing left of nonsense is believed. Seen by whom the access filter admits."""
    origin = rig.origin().serve()
    rig.serve(origin, trust=["127.0.0.0/8", "10.0.0.0/8"], client_ip_header="X-Forwarded-For", filters=[AccessFilter(allow=[client])])
    peer = rig.connect()
    peer.send(get("/", *fields))
    assert peer.response().status == 200
    rig.serve(
        origin,
        trust=["127.0.0.0/8", "10.0.0.0/8"],
        client_ip_header="X-Forwarded-For",
        filters=[AccessFilter(deny=[client], default_allow=True)],
    )
    peer.send(get("/", *fields))
    assert peer.response().status == 403


def test_client_address_from_another_field(rig: Rig) -> None:
    origin = rig.origin().serve()
    rig.serve(origin, trust=["127.0.0.1"], client_ip_header="CF-Connecting-IP", filters=[AccessFilter(allow=["203.0.113.9"])])
    peer = rig.connect()
    peer.send(get("/", "cf-connecting-ip: 203.0.113.9", "X-Forwarded-For: 192.0.2.1") + get("/", "X-Forwarded-For: 203.0.113.9"))
    assert peer.response().status == 200
    assert peer.response().status == 403
    assert origin.requests[0].field("x-forwarded-for") == "192.0.2.1, 127.0.0.1"


def test_stranger_names_no_client_address(rig: Rig) -> None:
    rig.serve(rig.origin().serve(), trust=["10.0.0.0/8"], client_ip_header="X-Forwarded-For", filters=[AccessFilter(allow=["203.0.113.9"])])
    peer = rig.connect()
    peer.send(get("/", "X-Forwarded-For: 203.0.113.9"))
    assert peer.response().status == 403


def test_unix_peer_may_be_trusted(rig: Rig, tmp_path: object) -> None:
    rig.listen(path=f"{tmp_path}/s")
    rig.serve(rig.origin().serve(), trust=["unix"], client_ip_header="X-Forwarded-For", filters=[AccessFilter(allow=["203.0.113.9"])])
    peer = rig.connect()
    peer.send(get("/", "X-Forwarded-For: 203.0.113.9") + get())
    assert peer.response().status == 200
    assert peer.response().status == 403


KEYS: list[tuple[dict[str, str], list[bytes], list[bytes]]] = [
    ({"hash_key": "path"}, [get("/a?x=1"), get("/a?x=2"), get("/./a")], [get(f"/{i}") for i in range(40)]),
    ({"hash_key": "uri"}, [get("/a?x=1"), get("/./a?x=1")], [get(f"/a?x={i}") for i in range(40)]),
    (
        {"hash_key": "host"},
        [get(host="one.test"), get("/b", host="one.test:80"), get(host="one.test.")],
        [get(host=f"h{i}.test") for i in range(40)],
    ),
    (
        {"hash_key": "header", "hash_name": "X-Key"},
        [get("/1", "X-Key: k"), get("/2", "x-KEY:   k ")],
        [get("/", f"X-Key: {i}") for i in range(40)],
    ),
    (
        {"hash_key": "cookie", "hash_name": "sid"},
        [get("/1", "Cookie: a=b; sid=k; c=d"), get("/2", "Cookie: a=b", "Cookie: sid=k")],
        [get("/", f"Cookie: sid={i}") for i in range(40)],
    ),
    (
        {"hash_key": "query", "hash_name": "id"},
        [get("/1?id=k"), get("/2?a=b&id=k&c"), get("/2?id=k&id=other")],
        [get(f"/?id={i}") for i in range(40)],
    ),
]


@pytest.mark.parametrize(("key", "same", "many"), KEYS, ids=[str(key["hash_key"]) for key, _, _ in KEYS])
def test_hash_keys(rig: Rig, key: dict[str, str], same: list[bytes], many: list[bytes]) -> None:
    """Equal keys go to one server, different ones to all of them."""
    origins = [rig.origin().serve() for _ in range(3)]
    rig.serve(*origins, upstream={"balance": "hash", **key})
    client = rig.connect()
    answers = []
    for request in [*same, *same, *many]:
        client.send(request)
        answers.append(client.response().body)
    assert len(set(answers[: 2 * len(same)])) == 1
    assert len(set(answers)) == 3


def test_hash_of_the_client_address(rig: Rig) -> None:
    origins = [rig.origin().serve() for _ in range(3)]
    rig.serve(*origins, upstream={"balance": "hash"}, trust=["127.0.0.0/8"], client_ip_header="X-Forwarded-For")
    client = rig.connect()
    seen: dict[str, set[bytes]] = {}
    for i in range(60):
        address = f"192.0.2.{i % 20}"
        client.send(get("/", f"X-Forwarded-For: {address}"))
        seen.setdefault(address, set()).add(client.response().body)
    assert all(len(servers) == 1 for servers in seen.values())
    assert len(set().union(*seen.values())) == 3
