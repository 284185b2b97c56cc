from __future__ import annotations

import pytest

from proxyd.config import cors as config
from proxyd.config.cors import LONGEST, LONGEST_ORIGIN
from proxyd.snapshot.build_access import build_cors
from proxyd_ext.filter.cors import Cors, ask
from tests.support.config import config_of, first_finding

POLICY = "listen: ':1'\nroutes: [{to: ['a:1'], use: p}]\npolicies: {p: {cors: "


def cors(text: str) -> config.Cors:
    found = config_of(f"{POLICY}{text}}}}}").policies["p"].cors
    assert found is not None
    return found


def test_short_forms() -> None:
    assert cors("'*'") == cors("['*']") == cors("{origins: '*'}")
    assert cors("https://a.example") == cors("{origins: [https://a.example]}")
    assert cors("'*'").methods == ("GET", "HEAD", "POST")
    assert cors("'*'").max_age is None
    assert [int(cors(f"{{origins: '*', max_age: {text}}}").max_age or 0) for text in ("2h", "none")] == [7200, 0]


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("HTTPS://App.Example.COM", "https://app.example.com"),
        ("https://a.example:443", "https://a.example"),
        ("http://a.example:443", "http://a.example:443"),
        ("http://a.example:0080", "http://a.example"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://*.a.example:8443", "https://*.a.example:8443"),
        ("http://10.0.0.1:80", "http://10.0.0.1"),
        ("http://[0:0::1]:3000", "http://[::1]:3000"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ("null", "null"),
    ],
)
def test_origins_are_as_browsers_write_them(written: str, origin: str) -> None:
    assert cors(f'["{written}"]').origins == (origin,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{origins: []}", ("PXD-022", 2)),
        ("{origins: [a.example]}", ("PXD-038", 12)),
        ("{origins: ['https://a.example/']}", ("PXD-038", 12)),
        ("{origins: ['https://u@a.example']}", ("PXD-038", 12)),
        ("{origins: ['https://']}", ("PXD-038", 12)),
        ("{origins: ['https://*']}", ("PXD-038", 12)),
        ("{origins: ['https://a*.example']}", ("PXD-038", 12)),
        ("{origins: ['https://a.*.example']}", ("PXD-038", 12)),
        ("{origins: ['https://a..example']}", ("PXD-038", 12)),
        ("{origins: ['https://a.example:0']}", ("PXD-038", 12)),
        ("{origins: ['https://a.example:65536']}", ("PXD-038", 12)),
        ("{origins: ['https://a.example:']}", ("PXD-038", 12)),
        ("{origins: ['http://[::g]']}", ("PXD-038", 12)),
        ("{origins: ['http://[::1:1:::1]']}", ("PXD-038", 12)),
        ("{origins: ['https://bücher.example']}", ("PXD-038", 12)),
        ("{origins: [\"https://a.example\\nX: 1\"]}", ("PXD-038", 12)),
        ("{origins: ['https://a.example', 'https://a.example:443']}", ("PXD-025", 33)),
        ("{origins: ['*', 'https://a.example']}", ("PXD-039", 11)),
        ("{origins: '*', credentials: true}", ("PXD-039", 29)),
        ("{origins: 'http://a', credentials: true, expose: '*'}", ("PXD-039", 50)),
        ("{origins: '*', headers: ['*', X-A]}", ("PXD-039", 25)),
        ("{origins: '*', headers: 'X A'}", ("PXD-082", 25)),
        ("{origins: '*', methods: [get]}", ("PXD-038", 26)),
        ("{origins: '*', methods: ['*']}", ("PXD-038", 26)),
        ("{origins: '*', methods: [TRACE]}", ("PXD-034", 26)),
        ("{origins: '*', max_age: 600}", ("PXD-031", 25)),
        ("{origins: '*', max_age: 2d}", ("PXD-033", 25)),
        ("{origins: '*', expose: [" + ", ".join(f"X-{number:0>98}" for number in range(10)) + "]}", ("PXD-033", 24)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    assert first_finding(f"{POLICY}\n{text}}}}}\n") == (expected[0], 4, expected[1])


@pytest.mark.parametrize("text", ["{methods: GET}", "{}", "[]", "{origins: [https://a.example, null]}"])
def test_origins_must_be_there(text: str) -> None:
    assert first_finding(f"{POLICY}{text}}}}}\n")[0] == "PXD-022"


def test_the_longest_that_is_allowed_can_be_compiled() -> None:
    """The bounds here are those of the engine."""
    origin = ("https://" + ".".join(["a" * 60] * 5))[:LONGEST_ORIGIN]
    lists = {name: ", ".join(f"X{number:0>46}" for number in range(30))[:longest] for name, longest in LONGEST.items()}
    assert {name: len(text) for name, text in lists.items()} == LONGEST
    options = ", ".join(f"{name}: [{text}]" for name, text in lists.items())
    policy = cors(f"{{origins: ['{origin}'], credentials: true, max_age: 1d, {options}}}")
    word, lines = ask(
        Cors(build_cors("p", policy)),
        f"OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: PUT\r\n\r\n".encode(),
    )
    assert word == 2
    assert f"Access-Control-Allow-Origin: {origin}\r\n".encode() in lines
    assert f"Access-Control-Allow-Headers: {lists['headers']}\r\n".encode() in lines
    for name, text in lists.items():
        assert first_finding(f"{POLICY}\n{{origins: '*', {name}: [{text}X]}}}}}}\n")[0] == "PXD-033"
