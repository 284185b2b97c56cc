"""What listeners of every mode have in common: where they accept, whom, and how many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from proxyd.config.address import BindAddress, check_network
from proxyd.config.base import ONE_OR_MORE, Model
from proxyd.config.routes import Route
from proxyd.config.text import Count, Flag, as_text
from proxyd.diagnostics.fail import fail, shown
from proxyd.diagnostics.suggest import closest

Mode = Literal["http", "cache", "tcp", "udp", "tls_passthrough"]
MODES: tuple[Mode, ...] = ("http", "cache", "tcp", "udp", "tls_passthrough")
MODE_DOC = (
    "`http`: a proxy, by routes. `cache`: the store itself, for applications: GET, PUT and DELETE of /cache/KEY. `tcp`, `udp`: "
    "connections, or datagrams, are passed on to `to` as they are. `tls_passthrough`: TLS connections are, undecrypted; the server name "
    "in the ClientHello chooses the route."
)


def check_mode(value: object) -> str:
    text = as_text(value)
    if text in MODES:
        return text
    near = closest(text, MODES) or next((mode for mode in MODES if text and mode.startswith(text)), None)
    hint = f"did you mean `{near}`? " if near else ""
    raise fail("PXD-034", f"{shown(value)} is not a mode of a listener", f"{hint}allowed: {', '.join(MODES)}")


CHECK_MODE = BeforeValidator(check_mode)


def check_peer(value: object) -> str:
    text = as_text(value).strip()
    return text if text == "unix" else check_network(text)


def check_admitted(value: object) -> str:
    text = as_text(value).strip()
    if text == "unix":
        return text
    if text == "all":
        raise fail("PXD-038", "`all` is not a network", "leave it out: with `allow`, everyone else is denied")
    if text.lower().startswith("country:"):
        raise fail("PXD-038", f"{shown(text)} is not a network", "by country there is the policy `access`, for HTTP")
    return check_network(text)


Peer = Annotated[str, BeforeValidator(check_peer), WithJsonSchema({"type": "string"})]
Networks = Annotated[tuple[Annotated[str, BeforeValidator(check_admitted), WithJsonSchema({"type": "string"})], ...], ONE_OR_MORE]


class PeerTrust(Model):
    """Whom to believe about the client's address."""

    trust: Annotated[tuple[Peer, ...], ONE_OR_MORE] = Field(
        description="Networks that are believed; `unix` stands for peers on a unix socket.",
        examples=[["10.0.0.0/8", "unix"]],
        min_length=1,
    )
    proxy_protocol: Flag = Field(
        False,
        description=(
            "Connections begin with a PROXY header, version 1 or 2, that names the client (UDP: each datagram, version 2); those that do "
            "not come from `trust`, or come without it, are closed."
        ),
    )


class ConnectionLimits(Model):
    per_client: Count = Field(
        10_000,
        description=(
            "Connections (UDP: flows) of one client address at a time, over all engines; `none`: no bound. Peers whose `client_ip.header` "
            "is believed are not counted."
        ),
        examples=[200],
    )
    connections: Count = Field(
        0, description="Connections (UDP: flows) at a time on the whole listener, over all engines; `none`: no bound.", examples=[10_000]
    )


class Listener(Model):
    later: ClassVar[frozenset[str]] = frozenset({"protocols", "tls"})
    moved: ClassVar[Mapping[str, str]] = {"proxy_protocol": "write `client_ip: {proxy_protocol: true, trust: [NETWORK]}`"}

    bind: Annotated[tuple[BindAddress, ...], ONE_OR_MORE] = Field(
        description="Addresses to listen on. `:8080` is every address of the machine; port 0 takes any free port.",
        examples=[["127.0.0.1:8080", "[::1]:8080", "unix:/run/proxyd/web.sock"]],
        min_length=1,
    )
    mode: Annotated[Mode, CHECK_MODE] = Field("http", description=MODE_DOC)
    allow: Networks = Field(
        (),
        description=(
            "Networks that may connect, and nobody else, by the peer's address or the one that a PROXY header tells; `unix`: peers on a "
            "unix socket. The longest matching prefix of both lists decides. Unset: everyone."
        ),
        examples=[["10.0.0.0/8"]],
    )
    deny: Networks = Field(
        (),
        description="Networks whose connections are closed at once; without `allow`, everyone else may connect.",
        examples=[["10.6.6.6"]],
    )
    client_ip: PeerTrust | None = Field(None, description="Whom to believe about the client's address; unset: nobody.")
    limits: ConnectionLimits = Field(ConnectionLimits(), description="Bounds that hold on this listener.")

    @property
    def is_flow(self) -> bool:
        """Whether it passes on connections or datagrams without looking for requests in them."""
        return self.mode in ("tcp", "udp", "tls_passthrough")

    @property
    def transport(self) -> Literal["tcp", "udp"]:
        return "udp" if self.mode == "udp" else "tcp"

    @property
    def own_routes(self) -> tuple[Route, ...] | None:
        """Routes of requests that hold on this listener alone; None: the top-level ones do, or there are no requests."""
        return None

    @property
    def proxies(self) -> tuple[str, ...] | None:
        """The networks that send PROXY headers; None: nobody does."""
        return self.client_ip.trust if self.client_ip is not None and self.client_ip.proxy_protocol else None

    @model_validator(mode="after")
    def _admits(self) -> Self:
        for index, network in enumerate(self.deny):
            if network in self.allow:
                raise fail("PXD-039", f"`{network}` is both allowed and denied", at=("deny", index))
        return self
