from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from click.testing import Result

from proxyd.cli.errors import Exit
from proxyd.snapshot.explain import Question
from proxyd.snapshot.explain_flow import FlowQuestion
from tests.proxyd.admin.fake_daemon import FakeDaemon

Run = Callable[..., Result]


def test_the_daemon_is_asked(run: Run, daemon: FakeDaemon) -> None:
    result = run("route", "http://shop.example:8080/a?b")
    assert result.exit_code == 0
    assert daemon.asked == [("explain", Question("GET", "shop.example", "/a", query="b", port="8080"))]
    assert "web 127.0.0.1:8080: route api, to app 95, next 5" in result.stdout
    assert "not shop: host differs" in result.stdout


@pytest.mark.parametrize("arguments", [("POST", "/a"), ("POST /a",), ("post", "/a")])
def test_method_and_url(arguments: tuple[str, ...], run: Run, daemon: FakeDaemon) -> None:
    run("route", *arguments, "-H", "Host: Shop.example:80", "-H", "X-Other: 1", "--cookie", "a=1", "--cookie", "b=2")
    headers = (("X-Other", "1"), ("Cookie", "a=1; b=2"))
    assert daemon.asked == [("explain", Question("POST", "shop.example", "/a", headers=headers, port="80"))]


def test_what_the_policies_say_and_which_servers_wait(run: Run, daemon: FakeDaemon) -> None:
    lines = run("route", "/a", "--client", "::1").stdout.splitlines()
    assert daemon.asked == [("explain", Question("GET", "", "/a", "::1"))]
    assert [line.strip() for line in lines[3:6]] == [
        "policy office: lets the client pass", "95% app: 2 servers, chosen by p2c", "10.0.0.1:80  weight 2                    up"]
    assert lines[6].split("for")[0] == "          10.0.0.2:80  of app.internal:80, backup  down  check failed: connection refused, "
    assert lines[7] == "      5% next: 1 server, chosen by hash client.ip"


def test_a_refused_request_goes_nowhere(run: Run, daemon: FakeDaemon) -> None:
    result = run("route", "/a", "--client", "192.0.2.1")
    assert result.exit_code == 0
    assert [line.strip() for line in result.stdout.splitlines()[3:]] == [
        "policy office: refuses: 403, access is denied", "policy marked: not asked"]


def test_without_a_daemon_the_file_tells(run: Run, write: Callable[[str, str], str]) -> None:
    write("proxyd.yaml", """
        listen: 127.0.0.1:8080
        routes: [{match: example.com/*, to: app, use: [office]}]
        policies: {office: {access: {allow: [10.0.0.0/8]}}}
        upstreams: {app: {servers: [127.0.0.1:9001, {address: "unix:/run/app.sock", weight: 3}], balance: {hash: path}}}
    """)
    lines = run("route", "http://example.com/x", "--client", "10.1.1.1").stdout.splitlines()
    *lines, retry = (line.strip() for line in lines)
    assert retry.startswith("retry: up to 2 more tries: connection failed; reset (idempotent requests only); ")
    assert lines == [
        "GET example.com/x  (by proxyd.yaml)",
        "default 127.0.0.1:8080: route example.com, to app",
        "policy office: lets the client pass",
        "timeout: connect 3 s, first byte 30 s, between bytes 60 s",
        "app: 2 servers, chosen by hash path",
        "127.0.0.1:9001",
        "unix:/run/app.sock  weight 3",
    ]
    assert "refuses: 403" in run("route", "example.com/x", "--client", "192.0.2.1").stdout
    assert "405" in run("route", "TRACE", "example.com/x").stdout


def test_no_route_gives_exit_code_7(run: Run, daemon: FakeDaemon) -> None:
    daemon.matches = False
    result = run("route", "/a")
    assert result.exit_code == Exit.NOT_FOUND
    assert "404 no route" in result.stdout
    assert "not api: host and path differ" in result.stdout


def test_json(run: Run, daemon: FakeDaemon) -> None:
    facts = json.loads(run("route", "/a", "--json").stdout)
    assert (facts["method"], facts["path"], facts["decisions"][0]["route"]) == ("GET", "/a", "api")


def test_an_unknown_listener(run: Run, daemon: FakeDaemon) -> None:
    result = run("route", "/a", "--listener", "wbe")
    assert result.exit_code == Exit.NOT_FOUND
    assert "`wbe`" in result.stderr


@pytest.mark.parametrize(
    "arguments", [(), ("GET",), ("GET", "/a", "/b"), ("/a", "-H", "no colon"), ("/a", "--client", "me"), ("ftp://x/",), ("G(T", "/"),
                  ("/a", "-H", "a b: c"), ("/a", "-H", "A: b\nc"), ("/a", "--cookie", "x"), ("/a", "--cookie", "=x")]
)
def test_what_cannot_be_meant(arguments: tuple[str, ...], run: Run) -> None:
    assert run("route", *arguments).exit_code == Exit.USAGE


# ---------------------------------------------------------------------- flows

def test_a_flow(run: Run, daemon: FakeDaemon) -> None:
    result = run("route", "tcp://:5432", "--client", "10.0.0.1")
    assert daemon.asked == [("explain_flow", FlowQuestion("tcp", "", 5432, "", "10.0.0.1"))]
    lines = [line.strip() for line in result.stdout.splitlines()]
    assert lines[0].startswith("tcp://:5432  (by the daemon at ")
    assert lines[1:4] == ["pg :5432: route pg, to app", "allow/deny: the client may connect", "timeout: idle 600 s"]
    assert lines[4:] == ["app: 1 server, chosen by p2c", "10.0.0.1:80  up"]


def test_a_client_that_may_not_connect(run: Run, daemon: FakeDaemon) -> None:
    lines = run("route", "tcp://:5432", "--client", "192.0.2.1").stdout.splitlines()
    assert [line.strip() for line in lines[2:]] == ["allow/deny: refuses: the connection is closed at once"]


def test_a_hello(run: Run, daemon: FakeDaemon) -> None:
    run("route", "tls://a.example:8443", "--alpn", "h2", "--alpn", "http/1.1", "--listener", "pg")
    assert daemon.asked == [("explain_flow", FlowQuestion("tls", "a.example", 8443, "", "", "pg", ("h2", "http/1.1")))]
    daemon.matches = False
    result = run("route", "tls://a.example:8443")
    assert result.exit_code == Exit.NOT_FOUND
    assert "pg :5432: refused: no route takes this server name" in result.stdout


def test_a_flow_that_reaches_nobody(run: Run, daemon: FakeDaemon) -> None:
    result = run("route", "udp://:53", "--listener", "x")
    assert result.exit_code == Exit.NOT_FOUND
    assert "there is no listener `x` of mode udp that udp://:53 goes to" in result.stderr


def test_a_flow_by_the_file(run: Run, write: Callable[[str, str], str]) -> None:
    write("proxyd.yaml", "{listeners: {pg: {bind: ':5432', mode: tcp, to: ['10.0.0.1:5432'], deny: [192.0.2.0/24]}}}")
    assert "pg :5432: route pg, to pg" in run("route", "tcp://:5432").stdout
    assert "refuses: the connection is closed at once" in run("route", "tcp://:5432", "--client", "192.0.2.1").stdout
    facts = json.loads(run("route", "tcp://:5432", "--json").stdout)
    assert (facts["kind"], facts["port"], facts["decisions"][0]["mode"]) == ("tcp", 5432, "tcp")


@pytest.mark.parametrize("arguments", [
    ("GET", "tcp://:5432"), ("tcp://:5432", "-H", "a: b"), ("tcp://:5432", "--alpn", "h2"), ("/a", "--alpn", "h2"), ("tcp://x:1",),
    ("tls://a", "--alpn", ""),
])
def test_what_is_no_flow(arguments: tuple[str, ...], run: Run) -> None:
    assert run("route", *arguments).exit_code == Exit.USAGE
