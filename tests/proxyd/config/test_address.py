from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from proxyd.config.address import Address, BindAddress, check_network


@pytest.mark.parametrize(
    ("text", "address", "is_ip"),
    [
        ("10.0.0.1:80", Address("10.0.0.1", 80), True),
        ("[::1]:8080", Address("::1", 8080), True),
        ("[2001:DB8:0:0::1]:1", Address("2001:db8::1", 1), True),
        ("App.Internal.:8000", Address("app.internal", 8000), False),
        ("localhost:65535", Address("localhost", 65535), False),
        ("my_service:1", Address("my_service", 1), False),
        ("unix:/run/app.sock", Address(path="/run/app.sock"), False),
    ],
)
def test_servers(text: str, address: Address, is_ip: bool) -> None:
    assert Address.parse(text) == address
    assert Address.parse(str(address)) == address
    assert (address.is_ip, address.is_unix) == (is_ip, text.startswith("unix:"))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("localhost", "lacks a port"),
        ("10.0.0.1", "lacks a port"),
        ("10.0.0.1 9001", "lacks a port"),
        ("10.0.0.1:", "is not a port"),
        ("10.0.0.1:0", "is not a port"),
        ("10.0.0.1:99999", "is not a port"),
        ("10.0.0.1:\uff18\uff10", "is not a port"),
        ("10.0.0.256:80", "is not an IPv4 address"),
        ("10.0.1:80", "is not an IPv4 address"),
        ("::1", "is not an address"),
        ("::1:80", "is not an address"),
        ("[::1]", "is not an address"),
        ("[10.0.0.1]:80", "is not an IPv6 address"),
        ("[fe80::1%eth0]:80", "is not an IPv6 address"),
        ("http://app/", "is a URL"),
        (":80", "is not a host name"),
        ("a b:80", "is not a host name"),
        ("-a:80", "is not a host name"),
        ("a..b:80", "is not a host name"),
        ("a" * 64 + ":80", "is not a host name"),
        ("unix:relative", "is not an absolute socket path"),
        ("unix:", "is not an absolute socket path"),
        ("unix:/" + "x" * 108, "longer than 107"),
    ],
)
def test_what_is_no_server(text: str, says: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        Address.parse(text)
    assert caught.value.type == "PXD-035"
    assert says in caught.value.message()


def test_help_repairs_the_usual_slips() -> None:
    for text, help in [
        ("::1", "`[::1]:8080`"),
        ("127.0.0.1 9001", "a colon before the port: `127.0.0.1:9001`"),
        ("http://app/x", "`app:80`"),
        ("https://app", "`app:443`"),
        ("http://app:8000/x", "`app:8000`"),
    ]:
        with pytest.raises(PydanticCustomError) as caught:
            Address.parse(text)
        assert help in (caught.value.context or {})["help"]
    for text, help in [("localhost:80", "`127.0.0.1:80`"), ("*:80", "`:80`"), ("example.com:80", "`:8080`")]:
        with pytest.raises(PydanticCustomError) as caught:
            BindAddress.parse(text)
        assert help in (caught.value.context or {})["help"]


@pytest.mark.parametrize(
    ("text", "address", "loopback"),
    [
        (":8080", BindAddress("", 8080), False),
        ("127.0.0.1:0", BindAddress("127.0.0.1", 0), True),
        ("[::]:80", BindAddress("::", 80), False),
        ("[::1]:80", BindAddress("::1", 80), True),
        ("0.0.0.0:80", BindAddress("0.0.0.0", 80), False),
        ("unix:/a", BindAddress(path="/a"), True),
    ],
)
def test_listeners(text: str, address: BindAddress, loopback: bool) -> None:
    assert BindAddress.parse(text) == address
    assert str(address) == text
    assert address.is_loopback == loopback


@given(st.ip_addresses(), st.integers(1, 65535))
def test_every_ip_address_is_an_address(ip: object, port: int) -> None:
    text = f"[{ip}]:{port}" if ":" in str(ip) else f"{ip}:{port}"
    parsed = Address.parse(text)
    assert (parsed.port, parsed.is_ip, Address.parse(str(parsed))) == (port, True, parsed)


def attempt(kind: type[Address], text: str) -> tuple[Address | None, str]:
    try:
        return kind.parse(text), ""
    except PydanticCustomError as error:
        return None, error.type


@given(st.text(max_size=40) | st.from_regex(r"[\[\]a-f0-9.:]{0,12}:[0-9]{0,6}", fullmatch=True))
def test_any_text_is_an_address_or_a_finding(text: str) -> None:
    for kind in (Address, BindAddress):
        parsed, code = attempt(kind, text)
        assert code == ("" if parsed else "PXD-035")
        assert parsed is None or kind.parse(str(parsed)) == parsed


def test_networks() -> None:
    assert [check_network(text) for text in ("10.0.0.0/8", "192.0.2.1", "2001:DB8::/32")] == ["10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32"]
    with pytest.raises(PydanticCustomError) as caught:
        check_network("10.0.0.1/8")
    assert "write `10.0.0.0/8`" in (caught.value.context or {})["help"]
    for wrong in ("", "10.0.0.0/33", "example.com", "all"):
        with pytest.raises(PydanticCustomError):
            check_network(wrong)
