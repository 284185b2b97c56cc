from __future__ import annotations

import pytest

from proxyd.config.address import Address
from proxyd.config.canonical import canonical
from proxyd.config.log import AccessLog, hidden_fields, hidden_parameters, is_file, syslog_of
from tests.support.config import config_of, first_finding

BEGIN = "listen: ':1'\nto: ['a:1']\nlog: {access: "


def access(text: str) -> AccessLog:
    found = config_of(f"{BEGIN}{text}}}").log.access
    assert found is not None
    return found


def test_where_it_goes() -> None:
    receivers = {
        "syslog://10.0.0.1": Address("10.0.0.1", 514), "syslog://10.0.0.1:601": Address("10.0.0.1", 601),
        "syslog://[2001:db8::1]": Address("2001:db8::1", 514), "syslog://[::1]:6514": Address("::1", 6514),
        "syslog+unix:/run/log": Address(path="/run/log"), "syslog+unix:///run/log": Address(path="/run/log"),
    }
    assert {to: syslog_of(access(f"'{to}'").to) for to in receivers} == receivers
    files = {"stdout": False, "stderr": False, "syslog": False, "syslog.log": True, "/var/log/x": True}
    assert {to: is_file(access(to).to) for to in files} == files


def test_which_are_written() -> None:
    sample = access("{sample: {2xx: 10%, flows: 5%, slower_than: 1s}}").sample
    assert sample.shares() == {"1xx": 100, "2xx": 10, "3xx": 100, "4xx": 100, "5xx": 100, "flows": 5}
    assert sample.slower_than.seconds == 1.0
    assert canonical(sample) == {
        "1xx": "100%", "2xx": "10%", "3xx": "100%", "4xx": "100%", "5xx": "100%", "flows": "5%", "slower_than": "1s",
    }


def test_what_is_hidden() -> None:
    redact = access("{redact: ['query:token, key', 'query:user[pw]', 'header:Referer,authorization', client.ip]}").redact
    assert hidden_parameters(redact) == ("token", "key", "user[pw]")
    assert hidden_fields(redact) == ("client.ip", "referer")
    assert hidden_fields(access("{redact: 'header:host,user-agent'}").redact) == ("host", "user_agent")
    assert (hidden_fields(()), hidden_parameters(())) == ((), ())


def test_how_long_files_are_kept() -> None:
    log = access("{to: /var/log/x, rotate: {every: 1d}}")
    assert canonical(log)["rotate"] == {"size": "100MiB", "every": "1d", "keep": 7}
    assert access("/var/log/x").rotate is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("syslog:server=10.0.0.1", ("PXD-035", 1)),
        ("https://10.0.0.1/x", ("PXD-035", 1)),
        ("'syslog://logs.example'", ("PXD-035", 1)),
        ("'syslog://10.0.0.1:0'", ("PXD-035", 1)),
        ("'syslog+unix:relative'", ("PXD-035", 1)),
        ("/var/log/", ("PXD-038", 1)),
        ("''", ("PXD-038", 1)),
        ("{sample: {2xx: 10}}", ("PXD-031", 16)),
        ("{sample: {2xx: 101%}}", ("PXD-033", 16)),
        ("{sample: {200: 1%}}", ("PXD-021", 11)),
        ("{sample: {slower_than: 2h}}", ("PXD-033", 24)),
        ("{redact: ['cookie:x']}", ("PXD-034", 11)),
        ("{redact: [host]}", ("PXD-034", 11)),
        ("{redact: ['query:']}", ("PXD-034", 11)),
        ("{redact: ['query:a=b']}", ("PXD-034", 11)),
        ("{redact: ['header:a b']}", ("PXD-034", 11)),
        ("{redact: ['header:X-Request-ID']}", ("PXD-034", 11)),
        ("{rotate: {size: 1GiB}}", ("PXD-039", 10)),
        ("{to: /x, rotate: {size: none}}", ("PXD-039", 25)),
        ("{to: /x, rotate: {size: 1KiB}}", ("PXD-033", 25)),
        ("{to: /x, rotate: {every: 10s}}", ("PXD-033", 26)),
        ("{to: /x, rotate: {keep: 0}}", ("PXD-033", 25)),
    ],
)
def test_mistakes(text: str, expected: tuple[str, int]) -> None:
    assert first_finding(f"{BEGIN}\n{text}}}\n") == (expected[0], 4, expected[1])
