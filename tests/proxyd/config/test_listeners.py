from __future__ import annotations

import pytest

from proxyd.config.accept import MODES
from proxyd.config.listeners import BY_MODE, HttpListener
from proxyd.config.options import options
from tests.support.config import config_of, first_finding


def test_every_mode_has_its_model() -> None:
    assert tuple(BY_MODE.models) == MODES
    for mode, model in BY_MODE.models.items():
        made = model.model_fields["mode"]
        assert mode in str(made.annotation)


def test_routes_of_every_mode() -> None:
    config = config_of("""
        listeners:
          web: {bind: ":1"}
          own: {bind: ":2", respond: 404}
          store: {bind: "127.0.0.1:3", mode: cache}
          tcp: {bind: ":4", mode: tcp, to: app}
          udp: {bind: ":4", mode: udp, to: app}
          tls: {bind: ":5", mode: tls_passthrough, routes: [{match: a.b, to: app}], to: app}
        routes: [{to: app}]
        upstreams: {app: "10.0.0.1:1"}
    """)
    assert {name: len(config.routes_of(listener)) for name, listener in config.listeners.items()} == {
        "web": 1, "own": 1, "store": 1, "tcp": 0, "udp": 0, "tls": 0,
    }  # fmt: skip
    assert {name: [route.name for route in config.flow_routes_of(name)] for name in config.listeners} == {
        "web": [], "own": [], "store": [], "tcp": ["tcp"], "udp": ["udp"], "tls": ["a.b", "default"],
    }  # fmt: skip
    assert len(config.tables()) == 2
    assert config.stores


def test_who_tells_the_address() -> None:
    def listener(text: str) -> HttpListener:
        found = config_of(f"listeners: {{a: {{bind: ':1', respond: 200, client_ip: {{trust: 10.0.0.0/8, {text}}}}}}}").listeners["a"]
        assert isinstance(found, HttpListener)
        return found

    told = listener("header: X-Real-IP").client_ip
    assert told is not None
    assert told.header == "X-Real-IP"
    assert listener("header: X-Real-IP").proxies is None
    assert listener("proxy_protocol: true").proxies == ("10.0.0.0/8",)


@pytest.mark.parametrize(
    ("text", "column"),
    [("header: X, proxy_protocol: true, trust: unix", 55), ("proxy_protocol: true, trust: unix, header: X-Forwarded-For", 90)],
)
def test_a_header_or_a_field(text: str, column: int) -> None:
    assert first_finding(f"listeners: {{a: {{bind: ':1', respond: 200, client_ip: {{{text}}}}}}}") == ("PXD-024", 1, column)


def test_options_of_every_mode_are_told() -> None:
    where = {(option.path, option.where) for option in options() if option.path.startswith("listeners.NAME.")}
    assert ("listeners.NAME.mode", "") in where
    assert ("listeners.NAME.bind", "") in where
    assert ("listeners.NAME.limits.header_size", "mode: http | cache") in where
    assert ("listeners.NAME.flow.responses", "mode: udp") in where
    assert ("listeners.NAME.routes[].match.sni", "mode: tls_passthrough") in where
    of_to = {place for path, place in where if path == "listeners.NAME.to"}
    assert of_to == {"mode: http | cache", "mode: tcp | udp", "mode: tls_passthrough"}
