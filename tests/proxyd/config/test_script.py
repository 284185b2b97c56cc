from __future__ import annotations

import pytest

from proxyd.config.canonical import canonical
from proxyd.config.model import ScriptStep, Tcp, Udp
from proxyd.config.regex import Regex
from tests.support.config import first_finding, upstream_of


def tcp(text: str) -> Tcp:
    found = upstream_of(f"health: {{tcp: {text}}}").health.active[0].tcp
    assert found is not None
    return found


def udp(text: str) -> Udp:
    found = upstream_of(f"health: {{udp: {text}}}").health.active[0].udp
    assert found is not None
    return found


def test_text_and_bytes() -> None:
    assert tcp(r'{send: "PING\r\n", expect: 220}').steps == (ScriptStep(send="PING\r\n"), ScriptStep(expect="220"))
    assert tcp(r'{send: "a\x00ä"}').sent == b"a\0\xc3\xa4"
    for text in ("00 ff 1B", "00ff1b", "' 00 FF1b '"):
        assert tcp(f"{{send_hex: {text}}}").sent == b"\0\xff\x1b"
        assert tcp(f"{{expect_hex: {text}}}").expect_hex == "00 ff 1b"
    assert [tcp(f"{{expect_hex: {text}}}").expected for text in ("53", "53e1", "00000001")] == [b"S", b"S\xe1", b"\0\0\0\1"]
    assert tcp("{expect: {regex: '^a'}}").expected == Regex("^a")


def test_a_script() -> None:
    found = tcp(
        "{script: [{send: a}, {expect: b, not: true}, {expect: {regex: c}, within: 4096}, {send_hex: 0a}, {expect_hex: 0b, within: 1KiB}]}"
    )
    assert [(step.sent, step.expected, int(step.within), step.is_guard) for step in found.steps] == [
        (b"a", None, 262144, False),
        (None, b"b", 262144, True),
        (None, Regex("c"), 4096, False),
        (b"\n", None, 262144, False),
        (None, b"\x0b", 1024, False),
    ]
    assert canonical(found) == {
        "script": [{"send": "a"}, {"expect": "b", "not": True}, {"expect": {"regex": "c"}, "within": "4KiB"}, {"send_hex": "0a"},
                   {"expect_hex": "0b", "within": "1KiB"}],
    }


def test_datagrams() -> None:
    assert udp("{send: a, expect_hex: '01'}").sent == b"a"
    assert [udp(f"{{dns: {name}}}").dns for name in ("Example.COM.", "_a.b-c.example", ".", "xn--bcher-kva.example")] == [
        "example.com", "_a.b-c.example", ".", "xn--bcher-kva.example"]
    assert upstream_of("health: {dns: a.example}").health == upstream_of("health: {udp: {dns: a.example}}").health


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tcp: {send: ''}", ("PXD-022", 13)),
        ("tcp: {expect: ''}", ("PXD-022", 15)),
        ("tcp: {send_hex: 0}", ("PXD-038", 17)),
        ("tcp: {send_hex: 0x00}", ("PXD-038", 17)),
        ("tcp: {send_hex: 00 0 0}", ("PXD-038", 17)),
        ("tcp: {send_hex: ''}", ("PXD-022", 17)),
        ("tcp: {expect_hex: zz}", ("PXD-038", 19)),
        ("tcp: {expect: {regex: '('}}", ("PXD-038", 23)),
        ("tcp: {expect: {regexp: a}}", ("PXD-021", 16)),
        ("tcp: {send: a, send_hex: 00}", ("PXD-024", 16)),
        ("tcp: {expect: a, expect_hex: 00}", ("PXD-024", 18)),
        ("tcp: {send: a, script: [{send: b}]}", ("PXD-024", 7)),
        ("tcp: {script: []}", ("PXD-022", 15)),
        ("tcp: {script: {send: a}}", ("PXD-030", 15)),
        ("tcp: {script: [a]}", ("PXD-030", 16)),
        ("tcp: {script: [{}]}", ("PXD-022", 16)),
        ("tcp: {script: [{within: 10}]}", ("PXD-022", 16)),
        ("tcp: {script: [{sent: a}]}", ("PXD-021", 17)),
        ("tcp: {script: [{send: a, expect: b}]}", ("PXD-024", 26)),
        ("tcp: {script: [{send: a, within: 10}]}", ("PXD-024", 26)),
        ("tcp: {script: [{send: a, not: true}]}", ("PXD-024", 26)),
        ("tcp: {script: [{expect: abc, within: 2}]}", ("PXD-039", 38)),
        ("tcp: {script: [{expect: abc, within: 0}]}", ("PXD-033", 38)),
        ("tcp: {script: [{expect: abc, within: 1MiB}]}", ("PXD-033", 38)),
        ("tcp: {script: [{expect: a, not: true}]}", ("PXD-022", 28)),
        ("tcp: {script: [{expect: a, not: true}, {send: b}, {expect: c}]}", ("PXD-022", 28)),
        ("tcp: {script: [{expect: a, not: true, within: 9}, {expect: c}]}", ("PXD-024", 39)),
        ("tcp: {script: [{send: a}, {expect_hex: 0 1}]}", ("PXD-038", 40)),
        (f"tcp: {{script: [{', '.join(['{send: a}'] * 101)}]}}", ("PXD-033", 15)),
        ("udp: {}", ("PXD-022", 6)),
        ("udp: {expect: a}", ("PXD-022", 6)),
        ("udp: {dns: a, send: b}", ("PXD-024", 15)),
        ("udp: {dns: ''}", ("PXD-038", 12)),
        ("udp: {dns: a..b}", ("PXD-038", 12)),
        (f"udp: {{dns: {'a' * 64}}}", ("PXD-038", 12)),
        (f"udp: {{dns: {'a.' * 130}}}", ("PXD-038", 12)),
        ("udp: {dns: 'bücher.example'}", ("PXD-038", 12)),
        (f"udp: {{send: {'ä' * 33_000}}}", ("PXD-033", 13)),
        ("udp: true", ("PXD-030", 6)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    found = first_finding(f"upstreams: {{app: {{servers: 'a:1', health: {{\n{text}}}}}}}\nlisten: :1\nto: app\n")
    assert found == (expected[0], 2, expected[1])
