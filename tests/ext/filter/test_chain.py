"""The steps of a route: access by address, fields that are added."""

from __future__ import annotations

import pytest

from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import (
    AccessFilter,
    ConsultAction,
    Filter,
    HeadersFilter,
    RedirectAction,
    RespondAction,
    RouteSpec,
    SnapshotSpec,
)
from tests.support.engine import OK, Rig, get, post


@pytest.mark.parametrize(
    ("access", "admitted", "refused"),
    [
        (AccessFilter(allow=["10.0.0.0/8"]), ["10.0.0.1", "10.255.255.255"], ["11.0.0.0", "9.255.255.255", "::a00:1", "2001:db8::1"]),
        (AccessFilter(deny=["10.0.0.0/8"], default_allow=True), ["11.0.0.0", "::1"], ["10.0.0.1"]),
        (AccessFilter(allow=["10.0.0.0/8"], deny=["10.1.0.0/16"]), ["10.0.0.1", "10.2.0.1"], ["10.1.0.1", "192.0.2.1"]),
        (AccessFilter(allow=["10.1.2.0/24"], deny=["10.1.0.0/16"], default_allow=True), ["10.1.2.3", "192.0.2.1"], ["10.1.3.3"]),
        (AccessFilter(allow=["10.0.0.1"], deny=["10.0.0.1"], default_allow=True), ["10.0.0.2"], ["10.0.0.1"]),
        (AccessFilter(allow=["0.0.0.0/0"]), ["1.2.3.4"], ["2001:db8::1"]),
        (AccessFilter(allow=["::/0"]), ["2001:db8::1"], ["1.2.3.4"]),
        (AccessFilter(allow=["2001:db8:8000::/33"]), ["2001:db8:8000::1", "2001:db8:ffff::"], ["2001:db8:7fff::1", "2001:db9:8000::"]),
        (AccessFilter(allow=["192.0.2.129/25"]), ["192.0.2.128", "192.0.2.255"], ["192.0.2.127"]),
        (AccessFilter(allow=["::ffff:10.0.0.1"]), ["10.0.0.1", "::ffff:10.0.0.1"], ["10.0.0.2"]),
        (AccessFilter(), [], ["1.2.3.4", "::1"]),
        (AccessFilter(default_allow=True), ["1.2.3.4", "::1"], []),
    ],
    ids=str,
)
def test_access(clocked: Rig, access: AccessFilter, admitted: list[str], refused: list[str]) -> None:
    """The longest prefix that contains the client decides; deny wins where both say the same."""
    clocked.publish([RouteSpec("all", RespondAction(200, b"in"), filters=[access])], trust=["127.0.0.0/8"], client_ip_header="X-Client")
    client = clocked.connect()
    for address in admitted:
        client.send(get("/", f"X-Client: {address}"))
        assert client.response().status == 200, address
    for address in refused:
        client.send(get("/", f"X-Client: {address}"))
        response = client.response()
        assert response.status == 403, address
        assert response.field("proxy-status") == 'proxyd; error=http_request_denied; details="denied"'
    assert clocked.errors() == ({"denied": len(refused)} if refused else {})


def test_refusal_reaches_no_origin(rig: Rig) -> None:
    """Whatever the action; and a refused body is not taken for a request."""
    origin = rig.origin()
    rig.serve(origin, filters=[AccessFilter()])
    client = rig.connect()
    client.send(post("/", b"body") + get("/smuggled"))
    response = client.response()
    assert (response.status, response.field("connection")) == (403, "close")
    assert client.ended()
    assert not origin.waiting()


@pytest.mark.parametrize(
    "filters",
    [
        [AccessFilter(default_allow=True), AccessFilter()],
        [AccessFilter(), AccessFilter(default_allow=True)],
        [HeadersFilter(b"X: 1\r\n"), AccessFilter(), HeadersFilter(b"Y: 1\r\n")],
    ],
)
def test_every_step_must_pass(rig: Rig, filters: list[Filter]) -> None:
    rig.publish([RouteSpec("all", RespondAction(200), filters=filters)])
    client = rig.connect()
    client.send(get())
    assert client.response().status == 403


@pytest.mark.parametrize("action", [RespondAction(200), RedirectAction(302, "/x"), ConsultAction("live")])
def test_refusal_of_own_answers(rig: Rig, action: RespondAction | RedirectAction | ConsultAction) -> None:
    rig.publish([RouteSpec("all", action, filters=[AccessFilter()])])
    client = rig.connect()
    client.send(get())
    assert client.response().status == 403


def test_fields_are_added(rig: Rig) -> None:
    """Those of all steps, in order, to the request and to the answer, in the place of what came under the same names."""
    origin = rig.origin()
    rig.serve(
        origin, filters=[HeadersFilter(b"X-One: 1\r\n", b"Y-One: 1\r\n"), HeadersFilter(b"X-Two: 2\r\nX-Three: 3\r\n", b"Y-Two: 2\r\n")]
    )
    client = rig.connect()
    for _ in range(2):
        client.send(get("/", "X-One: mine", "x-three: mine", "X-Other: mine"))
        peer, request = origin.asked() if not origin.peers else (origin.peers[0], origin.peers[0].request())
        assert [(name, value) for name, value in request.fields if name.startswith("X-") and not name.startswith(("X-F", "X-R"))] == [
            ("X-Other", "mine"),
            ("X-One", "1"),
            ("X-Two", "2"),
            ("X-Three", "3"),
        ]
        peer.send(OK.replace(b"\r\n\r\n", b"\r\ny-one: theirs\r\nY-Other: theirs\r\n\r\n"))
        assert [(name, value) for name, value in client.response().fields if name.startswith("Y-")] == [
            ("Y-Other", "theirs"),
            ("Y-One", "1"),
            ("Y-Two", "2"),
        ]


def test_fields_on_a_retry_and_on_errors(rig: Rig) -> None:
    """The request that is sent again has them; an answer that proxyd makes has none of an origin's."""
    dead, good = rig.origin(), rig.origin().serve()
    dead.refuse()
    rig.serve(dead, good, filters=[HeadersFilter(b"X-One: 1\r\n", b"Y-One: 1\r\n")])
    client = rig.connect()
    client.send(get())
    assert client.response().field("y-one") == "1"
    assert good.requests[0].field("x-one") == "1"


def test_fields_on_own_answers(rig: Rig) -> None:
    rig.publish(
        [
            RouteSpec("respond", RespondAction(200, b"x"), path="/r", filters=[HeadersFilter(response_set=b"Y: 1\r\n")]),
            RouteSpec("redirect", RedirectAction(302, "/r"), filters=[HeadersFilter(response_set=b"Y: 2\r\n")]),
        ]
    )
    client = rig.connect()
    client.send(get("/r") + get("/x"))
    assert client.response().field("y") == "1"
    assert client.response().field("y") == "2"


@pytest.mark.parametrize("size", [100, 5_000, 16_000])
def test_many_fields_to_add(rig: Rig, size: int) -> None:
    """As much as the config says, both ways."""
    lines = b"".join(b"X-%05d: %s\r\n" % (i, b"v" * 80) for i in range(size // 92 + 1))
    origin = rig.origin().serve()
    rig.serve(origin, filters=[HeadersFilter(lines, lines)])
    client = rig.connect()
    client.send(get())
    response = client.response()
    assert response.status == 200
    assert lines in response.head
    assert lines in origin.requests[0].head


def test_too_many_fields_to_add(clocked: Rig) -> None:
    """What a route adds has a bound, told when the snapshot is compiled."""
    with pytest.raises(ValueError, match="more than 16384 bytes"):
        Snapshot(SnapshotSpec(1, "", [], [[RouteSpec("all", RespondAction(200), filters=[HeadersFilter(b"X: 1\r\n" * 3000)])]]))
