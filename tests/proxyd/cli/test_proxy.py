from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import Result

from proxyd.cli.errors import Exit
from proxyd.cli.verbs.proxy import config_text
from proxyd.config import Config, load_text


def config_of(*arguments: str, **options: str) -> Config:
    listen, *servers = arguments
    result = load_text(config_text(listen, tuple(servers), **options))
    assert result.diagnostics == []
    assert result.config is not None
    return result.config


@pytest.mark.parametrize(
    ("listen", "bind"), [(":8080", ":8080"), ("8080", ":8080"), ("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:80", "[::1]:80")]
)
def test_where_it_listens(listen: str, bind: str) -> None:
    assert str(config_of(listen, "127.0.0.1:9001").listeners["default"].bind[0]) == bind


@pytest.mark.parametrize(("server", "address"), [
    ("127.0.0.1:9001", "127.0.0.1:9001"),
    ("9001", "127.0.0.1:9001"),
    ("app.internal:80", "app.internal:80"),
    ("http://10.0.0.1:8000", "10.0.0.1:8000"),
    ("http://app.internal/", "app.internal:80"),
    ("[::1]:9001", "[::1]:9001"),
    ("http://[::1]/", "[::1]:80"),
    ("unix:/run/app.sock", "unix:/run/app.sock"),
])
def test_where_it_sends(server: str, address: str) -> None:
    assert str(config_of(":8080", server).upstreams["servers"].servers[0].address) == address


def test_options() -> None:
    config = config_of(":8080", "a:1", "b:2", balance="p2c", health="/healthz", threads="2", log="none")
    upstream = config.upstreams["servers"]
    assert [str(server.address) for server in upstream.servers] == ["a:1", "b:2"]
    assert upstream.balance.kind == "p2c"
    assert [active.path for active in upstream.health.active] == ["/healthz"]
    assert config.runtime.threads == 2
    assert config.log.access is None
    assert config_of(":1", "a:1", log="json").log.access is not None


@pytest.mark.parametrize("word", ["x: y", "]", '"', "a:1\nruntime: {threads: 3}", "*a", "${env:HOME}"])
def test_no_word_changes_the_structure(word: str) -> None:
    result = load_text(config_text(":8080", (word,), health="/h"))
    assert result.config is None
    assert {entry.code for entry in result.errors} <= {"PXD-022", "PXD-035", "PXD-006", "PXD-007"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((":8080", "nonsense"), "the address `nonsense` lacks a port"),
        (("localhost:8080", "9001"), "cannot listen on the name `localhost`"),
        ((":8080", "9001", "--threads", "many"), "`many` is not a number of threads"),
        ((":8080", "9001", "--health", "x"), "`x` is not a health check"),
    ],
)
def test_a_word_that_is_wrong_is_an_error_of_usage(arguments: tuple[str, ...], words: str, run: Callable[..., Result]) -> None:
    result = run("proxy", *arguments)
    assert result.exit_code == Exit.USAGE
    assert words in result.stderr
    assert "<text>" not in result.stderr


@pytest.mark.parametrize("mode", ["tcp", "udp"])
def test_flows(mode: str) -> None:
    config = config_of("5432", "a:5432", "10.0.0.1:5432", mode=mode, balance="least_conn")
    listener = config.listeners[mode]
    assert (listener.mode, [str(bind) for bind in listener.bind]) == (mode, [":5432"])
    route, = config.flow_routes_of(mode)
    assert list(route.to) == ["servers"]
    assert len(config.upstreams["servers"].servers) == 2


def test_not_both(run: Callable[..., Result]) -> None:
    result = run("proxy", ":1", "a:1", "--tcp", "--udp")
    assert result.exit_code == Exit.USAGE
    assert "--tcp or --udp, not both" in result.stderr
