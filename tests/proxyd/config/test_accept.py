from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from proxyd.config import load_text
from proxyd.config.accept import MODES, check_admitted, check_mode
from tests.support.config import config_of

LISTENER = "listeners: {{a: {{bind: ':1', mode: {mode}, to: app, {text}}}}}\nupstreams: {{app: 127.0.0.1:1}}\n"


@pytest.mark.parametrize("mode", MODES)
def test_who_may_connect(mode: str) -> None:
    to = "" if mode == "cache" else "to: app, "
    text = f"listeners: {{a: {{bind: ':1', mode: {mode}, {to}allow: [10.0.0.0/8, unix], deny: 10.6.6.6, limits: {{connections: 9}}}}}}"
    listener = config_of(f"{text}\nupstreams: {{app: 127.0.0.1:1}}\n").listeners["a"]
    assert (listener.allow, listener.deny) == (("10.0.0.0/8", "unix"), ("10.6.6.6/32",))
    assert listener.limits.connections == 9
    assert listener.is_flow == (mode not in ("http", "cache"))
    assert listener.transport == ("udp" if mode == "udp" else "tcp")


@pytest.mark.parametrize("mode", ["http", "tcp", "udp", "tls_passthrough"])
def test_proxies(mode: str) -> None:
    def proxies(text: str) -> tuple[str, ...] | None:
        return config_of(LISTENER.format(mode=mode, text=text)).listeners["a"].proxies

    assert proxies("") is None
    assert proxies("client_ip: {proxy_protocol: true, trust: [10.0.0.0/8, unix]}") == ("10.0.0.0/8", "unix")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("allow: [10.0.0.0/8], deny: [10.1.0.0/16, 10.0.0.0/8]", "`10.0.0.0/8` is both allowed and denied"),
        ("allow: all", "leave it out"),
        ("deny: ['country:SE']", "policy `access`"),
        ("allow: [10.0.0.1/8]", "`10.0.0.0/8`"),
        ("client_ip: {trust: 10.0.0.0/8, proxy_protocol: on}", "write `true`"),
        ("client_ip: {proxy_protocol: true}", "missing option `trust`"),
        ("proxy_protocol: true", "write `client_ip: {proxy_protocol: true"),
        ("limits: {connections: 0.5}", "expected a whole number"),
    ],
)
def test_mistakes(text: str, expected: str) -> None:
    for mode in ("http", "tcp"):
        [found, *_] = load_text(LISTENER.format(mode=mode, text=text), env={}).errors
        assert expected in f"{found.message} {found.help}"


@pytest.mark.parametrize(("word", "meant"), [("tpc", "tcp"), ("tls", "tls_passthrough"), ("Http", "http"), ("caches", "cache")])
def test_a_misspelt_mode(word: str, meant: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        check_mode(word)
    assert (caught.value.context or {})["help"].startswith(f"did you mean `{meant}`?")


def test_networks_are_spelt_canonically() -> None:
    assert [check_admitted(text) for text in ("10.1.2.3", " ::1 ", "unix")] == ["10.1.2.3/32", "::1/128", "unix"]
