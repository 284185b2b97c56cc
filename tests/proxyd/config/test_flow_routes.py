from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from proxyd.config.flow_routes import FlowRoute, check_protocol, check_server_name, expand_hello


@pytest.mark.parametrize(
    ("match", "names", "alpn"),
    [
        ({}, (), ()),
        ("*", (), ()),
        ("A.Example.", ("a.example",), ()),
        ("*.internal", ("*.internal",), ()),
        ("none", ("",), ()),
        (["a.example", "none"], ("a.example", ""), ()),
        ({"sni": "a.example", "alpn": "h2"}, ("a.example",), ("h2",)),
        ({"alpn": ["h2", "http/1.1"]}, (), ("h2", "http/1.1")),
    ],
)
def test_what_a_route_takes(match: object, names: tuple[str, ...], alpn: tuple[str, ...]) -> None:
    route = FlowRoute.model_validate({"match": match, "to": "app"})
    assert (route.names, route.alpn, route.to) == (names, alpn, {"app": 100})


def test_short_forms() -> None:
    assert expand_hello("a.example") == {"sni": "a.example"}
    assert expand_hello({"alpn": "h2"}) == {"alpn": "h2"}


@pytest.mark.parametrize(
    ("text", "help"),
    [
        ("a.example/x", "a ClientHello tells no path"),
        ("*", "for all names leave `match` out"),
        ("", "for all names leave `match` out"),
        ("10.0.0.1", "`{sni: none}`"),
        ("[::1]", "`{sni: none}`"),
        ("a.example:443", "write `a.example`"),
        ("a.*.example", "at the front"),
        ("bücher.example", "`xn--bcher-kva.example`"),
    ],
)
def test_what_is_no_server_name(text: str, help: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        check_server_name(text)
    assert caught.value.type == "PXD-037"
    assert help in (caught.value.context or {})["help"]


def test_protocols() -> None:
    assert check_protocol("h2") == "h2"
    for text in ("", "h 2", "x" * 256, "h2\n", "é"):
        with pytest.raises(PydanticCustomError, match="not the name of an application protocol"):
            check_protocol(text)
