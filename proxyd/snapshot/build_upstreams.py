"""From an upstream of the config to its specification: members, balancer, stickiness, and what holds for health and load."""
from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from proxyd.config.keys import split_key
from proxyd.config.sticky import StickyCookie
from proxyd.snapshot.members import Member
from proxyd.snapshot.store import Store
from proxyd_ext.snapshot.spec import MemberSpec, StickySpec, UpstreamSpec

if TYPE_CHECKING:
    from proxyd.config.model import Sticky, Upstream

PROCESS_KEY = secrets.token_bytes(32)     # of this process: the same over its reloads, another after a start
_ID_LENGTH = 22                           # characters of base64url: 132 bits, too many to guess


def build_upstream(
    name: str, upstream: Upstream, members: tuple[Member, ...], store: Store, *, zone: str, sticky_key: bytes
) -> UpstreamSpec:
    """`zone`: the proxy's own, "" where none is told. `sticky_key`: signs cookies where the config has no secret."""
    balance, circuit, passive = upstream.balance, upstream.circuit, upstream.health.passive
    hash_key, hash_name = split_key(balance.hash) if balance.hash else ("client.ip", "")
    key = _cookie_key(upstream.sticky, sticky_key)
    proxy = upstream.proxy_protocol
    zoned = upstream.zones.prefer == "local" and bool(zone) and any(member.zone for member in members)
    return UpstreamSpec(
        name=name,
        state=store.upstream(name),
        members=tuple(
            MemberSpec(
                server=store.server(name, member.label, member.address),
                weight=member.weight,
                tier=member.tier,
                local=not zoned or member.zone in ("", zone),
                max_requests=member.max_requests,
                sticky_id=sticky_id(key, name, member.label) if key else b"",
            )
            for member in members
            if member.address is not None
        ),
        balance=balance.kind,
        hash_key=hash_key,
        hash_name=hash_name,
        bounded_load=int(balance.bounded_load) if balance.bounded_load else 0,
        sticky=_sticky(upstream.sticky) if upstream.sticky else None,
        zone_min=int(upstream.zones.min_usable) if zoned and upstream.zones.cross else 0,
        zone_only=zoned and not upstream.zones.cross,
        panic=int(upstream.health.panic),
        fail_open=upstream.health.fail_open,
        slow_start_ms=int(upstream.slow_start),
        pool_max=upstream.pool.max,
        pool_idle_ms=int(upstream.pool.idle),
        passive_failures=passive.consecutive_5xx if passive else 0,
        eject_ms=int(passive.eject) if passive else 0,
        eject_max_ms=int(passive.eject_max) if passive else 0,
        max_ejected_percent=int(passive.max_ejected) if passive else 0,
        max_requests=circuit.max_requests,
        max_pending=circuit.max_pending,
        queue_ms=int(circuit.queue_timeout) if circuit.max_pending else 0,
        proxy=0 if proxy is None else 1 if proxy.version == "v1" else 2,
        proxy_crc=proxy is not None and proxy.crc32c,
        proxy_unique_id=proxy is not None and proxy.unique_id,
        on_down_close=upstream.on_down == "close",
    )


def sticky_id(key: bytes, upstream: str, label: str) -> bytes:
    """What stands for a server in the sticky cookie: it tells neither its address nor can it be made without the key."""
    digest = hmac.new(key, f"{upstream}\0{label}".encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest)[:_ID_LENGTH]


def _cookie_key(sticky: Sticky | None, process_key: bytes) -> bytes:
    """The key of the upstream's cookie; empty where there is no cookie."""
    if sticky is None or (sticky.cookie is None and sticky.app_cookie is None):
        return b""
    return sticky.cookie.secret.encode() if sticky.cookie and sticky.cookie.secret else process_key


def _sticky(sticky: Sticky) -> StickySpec:
    if sticky.cookie is not None:
        return StickySpec("cookie", sticky.cookie.name, sticky.cookie.attributes)
    if sticky.app_cookie is not None:
        ours = StickyCookie()
        return StickySpec("app_cookie", ours.name, ours.attributes, follows=sticky.app_cookie)
    if sticky.header is not None:
        return StickySpec("key", hash_key="header", hash_name=sticky.header.lower())
    return StickySpec("key", hash_key="client.ip")
