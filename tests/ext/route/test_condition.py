"""Each kind of condition on the wire: which route an engine takes for a request."""
from __future__ import annotations

import pytest

from proxyd_ext.snapshot.spec import Condition, RespondAction, RouteSpec
from tests.support.engine import Rig, get

PREFIX, SUFFIX = Condition("header", "prefix", "X-A", "ab"), Condition("header", "suffix", "X-A", "yz")

CASES: list[tuple[str, Condition, list[bytes], list[bytes]]] = [
    (
        "header exact", Condition("header", "exact", "X-Tenant", "blue"),
        [get("/", "x-tenant: blue"), get("/", "X-Tenant: red", "X-Tenant:  blue ")],
        [get(), get("/", "X-Tenant: Blue"), get("/", "X-Tenant: blue, red"), get("/", "X-Tenant2: blue"), get("/", "X-Tenant:")],
    ),
    ("header prefix", PREFIX, [get("/", "X-A: abc"), get("/", "X-A: ab")], [get("/", "X-A: a"), get("/", "X-A: xab"), get("/", "X-A: Ab")]),
    ("header suffix", SUFFIX, [get("/", "X-A: xyz"), get("/", "X-A: yz")], [get("/", "X-A: z"), get("/", "X-A: yzx")]),
    (
        "header present", Condition("header", "present", "Authorization"),
        [get("/", "Authorization: Basic eA=="), get("/", "authorization:")], [get(), get("/", "X-Authorization: x")],
    ),
    (
        "header absent", Condition("header", "present", "Authorization", negate=True),
        [get()], [get("/", "Authorization: Basic eA==")],
    ),
    (
        "header not exact", Condition("header", "exact", "X-A", "1", negate=True),
        [get(), get("/", "X-A: 2")], [get("/", "X-A: 1"), get("/", "X-A: 2", "X-A: 1")],
    ),
    (
        "header regex", Condition("header", "regex", "User-Agent", r"(?i)bot|crawler/[0-9]+"),
        [get("/", "User-Agent: GoogleBot/2"), get("/", "User-Agent: a CRAWLER/9")], [get("/", "User-Agent: crawler/"), get()],
    ),
    (
        "query exact", Condition("query", "exact", "v", "2"),
        [get("/?v=2"), get("/x?a=1&v=2"), get("/?v=1&v=2")],
        [get("/"), get("/?v=20"), get("/?V=2"), get("/?v=%32"), get("/?vv=2"), get("/v=2")],
    ),
    ("query present", Condition("query", "present", "debug"), [get("/?debug"), get("/?debug=0")], [get("/?debug2"), get("/debug")]),
    ("query regex", Condition("query", "regex", "id", "^[0-9]{3}$"), [get("/?id=123")], [get("/?id=1234"), get("/?id=12a"), get("/?id")]),
    (
        "cookie exact", Condition("cookie", "exact", "beta", "yes"),
        [get("/", "Cookie: a=b; beta=yes"), get("/", "Cookie: a=b", "Cookie: beta=yes")],
        [get("/", "Cookie: beta=no; beta=yes"), get("/", "Cookie: Beta=yes"), get("/", "Cookie: xbeta=yes"), get("/", "beta: yes")],
    ),
    ("cookie prefix", Condition("cookie", "prefix", "s", "eu-"), [get("/", "Cookie: s=eu-1")], [get("/", "Cookie: s=us-1"), get()]),
    (
        "path regex", Condition("path", "regex", value="^/v[0-9]+/(users|orders)/?$"),
        [get("/v1/users"), get("/v23/orders/"), get("/x/../v1/users"), get("/%761/users"), get("/v1/users?q=/")],
        [get("/v/users"), get("/v1/users/x"), get("/a/v1/users"), get("/?/v1/users")],
    ),
    ("path regex unanchored", Condition("path", "regex", value="/private/"), [get("/a/private/b")], [get("/private")]),
    (
        "host regex", Condition("host", "regex", value=r"^tenant[0-9]+\.test$"),
        [get(host="tenant7.test"), get(host="TENANT12.test:80"), get(host="tenant1.test.")],
        [get(host="tenant.test"), get(host="xtenant1.test")],
    ),
]


@pytest.mark.parametrize(("condition", "hits", "fails"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_on_the_wire(rig: Rig, condition: Condition, hits: list[bytes], fails: list[bytes]) -> None:
    rig.publish([RouteSpec("some", RespondAction(200, b"some"), conditions=[condition]), RouteSpec("rest", RespondAction(200, b"rest"))])
    client = rig.connect()
    for request, answer in [*((each, b"some") for each in hits), *((each, b"rest") for each in fails)]:
        client.send(request)
        assert client.response().body == answer, request
    rig.counted("GET", 200, len(hits), "some")
    rig.counted("GET", 200, len(fails), "rest")


def test_source(rig: Rig) -> None:
    """The first network that holds the client's address, and the address that a trusted peer names."""
    inside = Condition("source", "network", networks=["127.0.1.0/24", "203.0.113.7", "2001:db8::/32"])
    routes = [RouteSpec("office", RespondAction(200, b"office"), conditions=[inside]), RouteSpec("rest", RespondAction(200, b"rest"))]
    rig.publish(routes, trust=["127.0.2.0/24"], client_ip_header="X-Forwarded-For")
    for source, field, answer in (
        ("127.0.1.9", "", b"office"),
        ("127.0.3.1", "", b"rest"),
        ("127.0.3.1", "203.0.113.7", b"rest"),
        ("127.0.2.1", "203.0.113.7", b"office"),
        ("127.0.2.1", "2001:db8::5", b"office"),
        ("127.0.2.1", "203.0.113.8", b"rest"),
    ):
        client = rig.connect(source=source)
        client.send(get("/", *([f"X-Forwarded-For: {field}"] if field else [])))
        assert client.response().body == answer, (source, field)


def test_all_conditions_must_hold(rig: Rig) -> None:
    own = [Condition("header", "exact", "X-A", "1"), Condition("query", "present", "b"), Condition("cookie", "exact", "c", "3")]
    rig.publish([
        RouteSpec("all", RespondAction(200, b"all"), path="/x", conditions=own),
        RouteSpec("two", RespondAction(200, b"two"), conditions=own[:2]),
        RouteSpec("rest", RespondAction(200, b"rest"), path="/x"),
    ])
    client = rig.connect()
    for request, status, answer in (
        (get("/x?b", "X-A: 1", "Cookie: c=3"), 200, b"all"),
        (get("/y?b", "X-A: 1", "Cookie: c=3"), 200, b"two"),
        (get("/x?b", "X-A: 1", "Cookie: c=4"), 200, b"two"),
        (get("/x?b", "X-A: 2", "Cookie: c=3"), 200, b"rest"),
    ):
        client.send(request)
        response = client.response()
        assert (response.status, response.body) == (status, answer)
    client.send(get("/y", "X-A: 1"))
    assert client.response().status == 404
