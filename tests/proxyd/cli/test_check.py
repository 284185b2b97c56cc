from __future__ import annotations

import json
import socket
from collections.abc import Callable

from click.testing import Result

from proxyd.cli.errors import Exit
from proxyd.cli.online import Place, try_all
from proxyd.config.address import Address

Run = Callable[..., Result]
Write = Callable[[str, str], str]

GOOD = "listen: :8080\nto: [127.0.0.1:9001, 127.0.0.1:9002]\n"
BAD = "listen: :8080\nto: [127.0.0.1:9001]\ntoo: x\nruntime: {treads: 1}\n"
DOUBTFUL = "listen: :8080\nroutes:\n  - {to: a}\n  - {match: /x, to: a}\nupstreams: {a: {servers: [127.0.0.1:9001]}}\n"


def test_a_right_config(run: Run, write: Write) -> None:
    result = run("check", "-c", write("a.yaml", GOOD))
    assert result.exit_code == 0
    assert result.stdout == "a.yaml: ok, 1 listener, 1 route, 1 upstream with 2 servers\n"
    assert run("check", "-q", "a.yaml").stdout == ""


def test_all_errors_in_one_run(run: Run, write: Write) -> None:
    result = run("check", write("a.yaml", BAD))
    assert result.exit_code == Exit.CONFIG_INVALID
    assert "a.yaml:3:1" in result.stdout
    assert "a.yaml:4:11" in result.stdout
    assert result.stdout.endswith("2 errors\n")


def test_json_is_one_object_a_line(run: Run, write: Write) -> None:
    write("a.yaml", BAD)
    result = run("check", "-c", "a.yaml", "--format", "json")
    assert result.exit_code == Exit.CONFIG_INVALID
    assert [json.loads(line)["line"] for line in result.stdout.splitlines()] == [3, 4]
    assert run("check", "-c", "a.yaml", "--json").stdout == result.stdout


def test_warnings_fail_only_when_strict(run: Run, write: Write) -> None:
    write("a.yaml", DOUBTFUL)
    assert run("check", "a.yaml").exit_code == 0
    result = run("check", "a.yaml", "--strict")
    assert result.exit_code == Exit.WARNINGS
    assert "1 warning" in result.stdout


def test_a_file_that_is_not_there(run: Run) -> None:
    result = run("check", "nosuch.yaml")
    assert result.exit_code == Exit.CONFIG_INVALID
    assert "PXD-001" in result.stdout


def test_tests_of_the_config_are_run(run: Run, write: Write) -> None:
    text = GOOD + "tests:\n  - {request: /x, route: default}\n  - {request: POST /x, status: 404}\n"
    result = run("check", write("a.yaml", text))
    assert result.exit_code == Exit.CONFIG_INVALID
    assert "a.yaml:5:32" in result.stdout
    assert "expected 404 of proxyd itself" in result.stdout
    assert result.stdout.endswith("1 error\n")
    result = run("check", write("b.yaml", text.replace("status: 404", "upstream: default")))
    assert result.stdout == "b.yaml: ok, 1 listener, 1 route, 1 upstream with 2 servers, 2 tests passed\n"


def test_online_tells_what_the_network_says(run: Run, write: Write) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as other, socket.create_server(("127.0.0.1", 0)) as alive, socket.socket() as dead,
    ):
        dead.bind(("127.0.0.1", 0))
        taken, refused = other.getsockname()[1], dead.getsockname()[1]
        text = f"listen: 127.0.0.1:{taken}\nto: [127.0.0.1:{alive.getsockname()[1]}, 127.0.0.1:{refused}, 'nosuch.invalid:80']\n"
        result = run("check", "--online", "--json", write("a.yaml", text))
    found = {entry["code"]: entry for entry in map(json.loads, result.stdout.splitlines())}
    assert {code: entry["severity"] for code, entry in found.items()} == {"PXD-070": "error", "PXD-091": "warning", "PXD-090": "warning"}
    assert str(refused) in found["PXD-091"]["message"]
    assert "connection refused" in found["PXD-091"]["message"]
    assert found["PXD-090"]["path"].endswith("servers[2].address")
    line = text.splitlines()[1]
    assert {code: (entry["line"], entry["column"]) for code, entry in found.items()} == {
        "PXD-070": (1, 9), "PXD-091": (2, 1 + line.index(f"127.0.0.1:{refused}")), "PXD-090": (2, 1 + line.index("'nosuch"))}
    assert result.exit_code == Exit.CONFIG_INVALID


def test_online_does_not_connect_to_servers_of_datagrams(run: Run, write: Write) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as alive, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        alive.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        taken, server = alive.getsockname()[1], other.getsockname()[1]
        text = (f"listeners: {{dns: {{bind: '127.0.0.1:{taken}', mode: udp, to: dns}}}}\n"
                f"upstreams: {{dns: ['127.0.0.1:{server}', 'nosuch.invalid:53']}}\n")
        result = run("check", "--online", "--json", write("a.yaml", text))
        found = {entry["code"]: entry for entry in map(json.loads, result.stdout.splitlines())}
        assert set(found) == {"PXD-070", "PXD-090"}
        assert f"`ss -lunp 'sport = :{taken}'`" in found["PXD-070"]["help"]
        assert "nosuch.invalid" in found["PXD-090"]["message"]


def test_online_asks_for_what_stands_beside_the_servers(run: Run, write: Write) -> None:
    with socket.create_server(("127.0.0.1", 0)) as alive, socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        up, down = alive.getsockname()[1], dead.getsockname()[1]
        text = f"""\
listen: 127.0.0.1:0
routes: [{{to: '127.0.0.1:{up}', use: [sso, asked], cache: 10m}}]
cache: {{shared: {{redis: 'redis://127.0.0.1:{down}/0'}}}}
limits: {{redis: 'redis://127.0.0.1:{up}/0'}}
tracing: {{otlp: 'http://127.0.0.1:{down}'}}
log: {{access: {{to: 'syslog+unix:/run/nobody.sock'}}}}
policies:
  sso: {{auth: {{jwt: {{issuer: https://id.example, audience: shop, keys: 'http://127.0.0.1:{down}/keys'}}}}}}
  asked: {{auth: {{forward: 'http://127.0.0.1:{down}/ask'}}}}
"""
        result = run("check", "--online", "--json", write("a.yaml", text))
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert {(entry["code"], entry["severity"]) for entry in found} == {("PXD-091", "warning")}
    assert {entry["path"] for entry in found} == {
        "cache.shared.redis", "tracing.otlp", "log.access.to", "policies.sso.auth.jwt.keys.jwks", "policies.asked.auth.forward.url",
    }
    assert result.exit_code == 0


async def test_online_takes_no_longer_than_it_may() -> None:
    """The servers take the connection and the queue of the third is full: nobody answers."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        place = Place("upstreams.a.servers[0].address", Address("127.0.0.1", full.getsockname()[1]))
        found = await try_all([place, place], within=0.05)
    assert [item.message for item in found] == ["2 of 2 addresses were not tried: 0.05 s are over"]


def test_flows_count_as_routes(run: Run, write: Write) -> None:
    text = "listeners: {pg: {bind: ':5432', mode: tcp, to: pg}}\nupstreams: {pg: ['127.0.0.1:5433']}\n"
    assert "ok, 1 listener, 1 route, 1 upstream with 1 server" in run("check", write("a.yaml", text)).stdout


def test_online_tells_of_a_log_that_cannot_be_opened(run: Run, write: Write) -> None:
    text = "listen: 127.0.0.1:0\nroutes: [{respond: 200}]\nlog: {access: WHERE}\n"
    result = run("check", "--online", write("a.yaml", text.replace("WHERE", "none/access.log")))
    assert result.exit_code == Exit.CONFIG_INVALID
    assert "PXD-213" in result.stdout
    assert "there is no folder `none`" in result.stdout
    assert "a.yaml:3:15" in result.stdout
    for where in ("access.log", "a.yaml", "stderr", "none"):
        assert run("check", "--online", write("b.yaml", text.replace("WHERE", where))).exit_code == 0


def test_online_lets_go_of_what_it_bound(run: Run, write: Write) -> None:
    with socket.create_server(("127.0.0.1", 0)) as origin:
        text = f"listen: 127.0.0.1:0\nto: [127.0.0.1:{origin.getsockname()[1]}]\n"
        assert run("check", "--online", write("a.yaml", text)).exit_code == 0


def test_online_knows_what_the_daemon_itself_listens_on(run: Run, write: Write, daemon: object) -> None:
    """The fake daemon says that it has 127.0.0.1:8080, whoever has it."""
    with socket.create_server(("127.0.0.1", 0)) as origin:
        text = f"listen: 127.0.0.1:8080\nto: [127.0.0.1:{origin.getsockname()[1]}]\n"
        assert run("check", "--online", write("a.yaml", text)).exit_code == 0
