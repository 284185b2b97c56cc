"""The steps of a route: access by address, fields that are set, added and removed."""

from __future__ import annotations

from typing import Any

import pytest

from proxyd_ext.snapshot import Snapshot
from proxyd_ext.snapshot.spec import (
    AccessFilter,
    ConsultAction,
    Filter,
    HeadersFilter,
    ProxyAction,
    RedirectAction,
    RespondAction,
    RouteSpec,
    SnapshotSpec,
    TargetSpec,
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


def sent_fields(rig: Rig, filters: list[Filter], *fields: str, **settings: Any) -> list[tuple[str, str]]:
    """What an origin sees of a request with these fields."""
    origin = rig.origin().serve()
    rig.serve(origin, filters=filters, **settings)
    client = rig.connect()
    client.send(get("/", *fields))
    assert client.response().status == 200
    return origin.requests[0].fields


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([HeadersFilter(request_add=b"X-A: new\r\n")], ["one", "two", "new"]),
        ([HeadersFilter(b"X-A: new\r\n")], ["new"]),
        ([HeadersFilter(request_remove=["x-a"])], []),
        ([HeadersFilter(request_remove=["X-A"], request_add=b"X-A: new\r\n")], ["new"]),
        ([HeadersFilter(b"X-A: set\r\n", request_add=b"X-A: added\r\n", request_remove=["X-A"])], ["set", "added"]),
        ([HeadersFilter(b"X-A: new\r\n"), HeadersFilter(request_remove=["X-A"])], []),
        ([HeadersFilter(request_add=b"X-A: new\r\n"), HeadersFilter(request_remove=["X-A"])], []),
        ([HeadersFilter(request_remove=["X-A"]), HeadersFilter(request_add=b"X-A: new\r\n")], ["new"]),
        ([HeadersFilter(b"X-A: 1\r\n"), HeadersFilter(b"x-a: 2\r\n")], ["2"]),
        ([HeadersFilter(request_remove=["X-A-B", "X", "A"])], ["one", "two"]),
    ],
    ids=str,
)
def test_set_add_remove(clocked: Rig, filters: list[Filter], expected: list[str]) -> None:
    """Both ways alike."""
    fields = sent_fields(clocked, filters, "X-A: one", "x-B: stays", "X-a: two")
    assert [value for name, value in fields if name.lower() == "x-a"] == expected
    assert ("x-B", "stays") in fields
    answered = [
        HeadersFilter(
            response_set=step.request_set, response_add=step.request_add, response_remove=step.request_remove
        )
        for step in filters
        if isinstance(step, HeadersFilter)
    ]
    answer = OK.replace(b"\r\n\r\n", b"\r\nX-A: one\r\nx-B: stays\r\nX-a: two\r\n\r\n")
    clocked.serve(clocked.origin().serve(answer), filters=answered)
    client = clocked.connect()
    client.send(get())
    response = client.response()
    assert response.all("x-a") == expected
    assert (response.all("x-b"), response.body) == (["stays"], b"ok")


@pytest.mark.parametrize("name", ["X-User", "x_user", "X-USER", "x-User", "X_User"])
def test_removed_under_any_spelling(clocked: Rig, name: str) -> None:
    """'_' for '-' too: behind CGI's naming both are HTTP_X_USER, and a client must not get past a filter with it."""
    for step in (HeadersFilter(request_remove=["X-User"]), HeadersFilter(b"X-User: proxy\r\n")):
        fields = sent_fields(clocked, [step], f"{name}: root")
        values = [value for spelled, value in fields if spelled.lower().replace("_", "-") == "x-user"]
        assert values == (["proxy"] if step.request_set else [])


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Request-ID", "Via"])
def test_own_request_fields(clocked: Rig, name: str, trusted: bool) -> None:
    """Those that proxyd writes can be taken away, replaced, and added to; the others stay."""
    own = {"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Request-ID", "Via"}
    settings = {"trust": ["127.0.0.0/8"]} if trusted else {}
    came = f"{name}: 192.0.2.1"
    removed = sent_fields(clocked, [HeadersFilter(request_remove=[name])], came, **settings)
    assert {spelled for spelled, _ in removed if spelled in own} == own - {name}
    replaced = sent_fields(clocked, [HeadersFilter(f"{name}: mine\r\n".encode())], came, **settings)
    assert [value for spelled, value in replaced if spelled == name] == ["mine"]
    added = sent_fields(clocked, [HeadersFilter(request_add=f"{name}: mine\r\n".encode())], came, **settings)
    values = [value for spelled, value in added if spelled == name]
    assert (len(values), values[-1]) == (2, "mine")


def test_own_response_fields(rig: Rig) -> None:
    """Date is taken away from every answer of the route, and what a server calls itself."""
    step = HeadersFilter(response_remove=["date", "Server"])
    own = [
        RouteSpec("respond", RespondAction(200, b"x"), path="/respond", filters=[step]),
        RouteSpec("redirect", RedirectAction(302, "/r"), path="/redirect", filters=[step]),
        RouteSpec("all", ProxyAction([TargetSpec(0)]), filters=[step]),
    ]
    origin = rig.origin().serve(OK.replace(b"\r\n\r\n", b"\r\nServer: x/1\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n"))
    rig.publish(own, [rig.upstream(origin)])
    client = rig.connect()
    for path in ("/respond", "/redirect", "/all"):
        client.send(get(path))
        response = client.response()
        assert (response.field("date"), response.field("server")) == (None, None)
        assert response.field("content-length") is not None


def test_fields_of_own_answers_are_replaced(rig: Rig) -> None:
    """A field that the action writes stands once: the step's."""
    rig.publish(
        [
            RouteSpec(
                "respond",
                RespondAction(200, b"{}", "text/plain", b"X-One: 1\r\nX-Two: 2\r\n"),
                path="/respond",
                filters=[HeadersFilter(response_set=b"Content-Type: application/json\r\n", response_remove=["x-one"])],
            ),
            RouteSpec("redirect", RedirectAction(302, "/theirs"), filters=[HeadersFilter(response_set=b"Location: /mine\r\n")]),
        ]
    )
    client = rig.connect()
    client.send(get("/respond") + get("/redirect"))
    response = client.response()
    assert (response.field("content-type"), response.field("x-one"), response.field("x-two")) == ("application/json", None, "2")
    assert client.response().field("location") == "/mine"


@pytest.mark.parametrize("name", ["Content-Length", "transfer-encoding", "Connection", "Host", "Upgrade", "TE", "Trailer", "Keep-Alive"])
def test_framing_is_protected(clocked: Rig, name: str) -> None:
    """Told when the snapshot is compiled, whoever wrote the spec."""
    line = f"{name}: 1\r\n".encode()
    for step in (
        HeadersFilter(line), HeadersFilter(response_set=line), HeadersFilter(request_add=line), HeadersFilter(response_add=line),
        HeadersFilter(request_remove=[name]), HeadersFilter(response_remove=[name]),
    ):
        with pytest.raises(ValueError, match="written by the proxy itself"):
            Snapshot(SnapshotSpec(1, "", [], [[RouteSpec("all", RespondAction(200), filters=[step])]]))


def test_removed_fields_wherever_heads_are_cut(clocked: Rig) -> None:
    """A head that comes in two pieces, cut at every byte."""
    step = HeadersFilter(b"X-Set: 1\r\n", b"Y-Set: 1\r\n", b"X-Add: 1\r\n", b"Y-Add: 1\r\n", ["X-Gone"], ["Y-Gone"])
    origin = clocked.origin()
    clocked.serve(origin, filters=[step])
    client = clocked.connect()
    request = get("/", "X-Gone: 1", "X-Set: 2", "X-Add: 2")
    answer = OK.replace(b"\r\n\r\n", b"\r\nY-Gone: 1\r\nY-Set: 2\r\nY-Add: 2\r\n\r\n")
    peer = None
    for cut in range(1, max(len(request), len(answer))):
        client.send(request[:cut])
        clocked.settle()
        client.send(request[cut:])
        peer = peer or origin.accept()
        asked = peer.request()
        assert [(name, value) for name, value in asked.fields if name in ("X-Gone", "X-Set", "X-Add")] == [
            ("X-Add", "2"),
            ("X-Set", "1"),
            ("X-Add", "1"),
        ]
        peer.send(answer[:cut])
        clocked.settle()
        peer.send(answer[cut:])
        response = client.response()
        assert [(name, value) for name, value in response.fields if name in ("Y-Gone", "Y-Set", "Y-Add")] == [
            ("Y-Add", "2"),
            ("Y-Set", "1"),
            ("Y-Add", "1"),
        ]


def test_chains_that_keep_nothing_do_not_wait(rig: Rig) -> None:
    """Their state stands on a stack that others have used."""
    origin = rig.origin().serve()
    rig.serve(origin, filters=[AccessFilter(default_allow=True), HeadersFilter(b"X: 1\r\n")])
    clients = [rig.connect() for _ in range(4)]
    for path in ("/", "/" + "p" * 3_000, "/%7e/" + "../x/" * 100):
        for client in clients:
            client.send(get(path, *[f"X-{i}: {path[-40:]}" for i in range(40)]))
            assert client.response().status == 200
