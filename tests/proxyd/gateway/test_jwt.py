"""The token set of issue 5, acceptance 4: each kind of bad token with its stated outcome; and what becomes of good ones."""
from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from aiohttp import web

from proxyd.config.auth_jwt import Jwt
from proxyd.config.error_pages import PageFile
from proxyd.gateway.authority import DENIED_TTL, Asked, AuthUnavailable
from proxyd.gateway.consumers import Consumers
from proxyd.gateway.jwks import DEMAND_GAP_S
from proxyd.gateway.jwt import JwtAuthority, build_jwt
from proxyd.gateway.parts import Parts
from proxyd.gateway.passwords import Passwords
from proxyd.gateway.registry import BUILDERS
from proxyd.jose.keyset import KeySet
from proxyd.jose.token import Token, verify
from proxyd.tasks import Tasks
from proxyd_ext.auth.verdict import Verdict
from tests.support.clock import FakeClock
from tests.support.config import config_of
from tests.support.tokens import AUDIENCE, ISSUER, Issuer, ec_key, encode_json, okp_key, pem, public_jwk, rsa_key, sign

NOW = 1_800_000_000.0
CACHE_S = 3600.0
CHALLENGE = r'WWW-Authenticate: Bearer realm="sso", error="(\w+)", error_description="([^"\\]*)"(, scope="[^"\\]*")?\r\n'
BLANK = Asked("GET", "/x", "http", "127.0.0.1", "id", "shop.example.com", (), "")


class Noted:
    """A verdict that tells what it was made of; the native one tells it to requests alone."""

    def __init__(
        self, *, allow: bool, user: str = "", lines: bytes = b"", attributes: Mapping[str, str] | None = None, status: int = 401,
        head: bytes = b"",
    ) -> None:
        self.native = Verdict(allow=allow, user=user, lines=lines, attributes=attributes, status=status, head=head)
        self.allow, self.user, self.lines, self.attributes, self.status, self.head = allow, user, lines, attributes, status, head


@dataclass(frozen=True, slots=True)
class Answer:
    verdict: Noted
    ttl: float


def jwt(keys: dict[str, object] | None = None, **options: object) -> Jwt:
    found: dict[str, object] = {"issuer": ISSUER, "audience": AUDIENCE, **options}
    return Jwt.model_validate(found | ({"keys": keys} if keys is not None else {}))


@dataclass
class Server:
    """The issuer's place on the loopback."""

    issuer: Issuer
    base: str = ""
    up: bool = True
    requests: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.requests += 1
        if not self.up:
            return web.Response(status=503)
        if request.path == "/.well-known/openid-configuration":
            return web.json_response({"issuer": self.base, "jwks_uri": f"{self.base}/keys"})
        tag = f'"{self.issuer.kid}"'
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304)
        return web.Response(body=self.issuer.jwks(), headers={"ETag": tag})


@asynccontextmanager
async def serving(server: Server) -> AsyncIterator[Server]:
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    server.base = f"http://{host}:{port}"
    try:
        yield server
    finally:
        await runner.cleanup()


@dataclass
class Rig:
    """`issuer` is the one of `ISSUER`; its keys come from a file, unless a test builds an authority with a server."""

    clock: FakeClock
    tasks: Tasks
    issuer: Issuer
    opened: list[JwtAuthority]

    def build(self, options: Jwt, *attributes: str) -> JwtAuthority:
        made = build_jwt(options, attributes, self.tasks, self.clock, cache_s=CACHE_S, realm="sso")
        self.opened.append(made)
        return made

    def by_file(self, content: bytes | None = None, **options: object) -> JwtAuthority:
        file = PageFile.of("keys", self.issuer.jwks() if content is None else content)
        return self.build(jwt({"file": file}, **options))

    def by_server(self, server: Server, **options: object) -> JwtAuthority:
        return self.build(jwt({"jwks": f"{server.base}/keys"}, **options))

    @property
    def now(self) -> float:
        return self.clock.wall()


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr("proxyd.gateway.jwt.Verdict", Noted)
    clock = FakeClock(NOW)
    made = Rig(clock, Tasks(clock), Issuer(), [])
    yield made
    for authority in made.opened:
        await authority.close()
    await made.tasks.close()


async def ask(authority: JwtAuthority, token: str) -> Answer:
    decided = await authority.decide(replace(BLANK, credential=token))
    verdict: object = decided.verdict
    assert isinstance(verdict, Noted)
    return Answer(verdict, decided.ttl)


async def refused(authority: JwtAuthority, token: str, why: str, *, status: int = 401, ttl: float = DENIED_TTL) -> None:
    """One refusal, with its answer of RFC 6750 section 3."""
    decided = await ask(authority, token)
    error = {401: "invalid_token", 403: "insufficient_scope"}[status]
    head = decided.verdict.head.decode()
    found = re.fullmatch(CHALLENGE, head)
    assert found, head
    assert not decided.verdict.allow
    assert (decided.verdict.status, found[1], decided.ttl) == (status, error, ttl)
    assert re.search(why, found[2]), found[2]


# ------------------------------------------------------------------ good ones
async def test_a_good_token(rig: Rig) -> None:
    authority = rig.by_file(forward={"sub": "X-User", "roles": "X-Roles"})
    decided = await ask(authority, rig.issuer.token(rig.now, roles=["a", "b"]))
    verdict = decided.verdict
    assert (verdict.allow, verdict.user, verdict.lines) == (True, "ann", b"X-User: ann\r\nX-Roles: a,b\r\n")
    assert decided.ttl == 300 + 30


async def test_claims_for_limits_and_filters(rig: Rig) -> None:
    authority = rig.build(jwt({"file": PageFile.of("k", rig.issuer.jwks())}, user="email"), "tenant", "sub")
    verdict = (await ask(authority, rig.issuer.token(rig.now, tenant="t1", email="a@b"))).verdict
    assert (verdict.user, verdict.attributes) == ("a@b", {"tenant": "t1", "sub": "ann"})


async def test_how_long_a_verdict_is_remembered(rig: Rig) -> None:
    authority = rig.by_file(skew="10s", require_exp=False)
    assert (await ask(authority, rig.issuer.token(rig.now, exp=NOW + 5))).ttl == 15
    assert (await ask(authority, rig.issuer.token(rig.now, exp=NOW - 5))).ttl == 5
    assert (await ask(authority, rig.issuer.token(rig.now, exp=NOW + 1e6))).ttl == CACHE_S
    assert (await ask(authority, rig.issuer.token(rig.now, exp=None))).ttl == CACHE_S


async def test_it_is_built_from_the_config(rig: Rig) -> None:
    config = config_of(f"""
        listen: ":1"
        policies:
          sso: {{auth: {{jwt: {{issuer: {ISSUER}, audience: shop, keys: {{secret: {"s" * 32}}}, forward: {{sub: X-User}}}}, cache: 20s}}}}
          by-tenant: {{concurrency: {{max: 1, key: jwt.tenant}}}}
        routes: [{{to: "a:1", use: [sso, by-tenant]}}]
    """)
    auth = config.policies["sso"].auth
    assert auth is not None
    authority = BUILDERS["jwt"](Parts("sso", auth, config, rig.tasks, rig.clock, Consumers(), Passwords(rig.clock)))
    assert isinstance(authority, JwtAuthority)
    answer = await ask(authority, sign({"alg": "HS256"}, rig.issuer.claims(NOW, tenant="t"), b"s" * 32, "HS256"))
    assert (answer.verdict.lines, answer.verdict.attributes) == (b"X-User: ann\r\n", {"tenant": "t", "sub": "ann"})
    assert answer.ttl == 20
    await refused(authority, "x", "not a signed token")


# ------------------------------------------------------------------ the token set
@pytest.mark.parametrize("word", ["none", "None", "NONE", "nOnE"])
async def test_alg_none(rig: Rig, word: str) -> None:
    authority = rig.by_file()
    for kid in ({}, {"kid": rig.issuer.kid}):
        await refused(authority, f"{encode_json({'alg': word, **kid})}.{encode_json(rig.issuer.claims(NOW))}.", "algorithm")


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_key_confusion(rig: Rig, algorithm: str) -> None:
    """HMAC with the text of the public key, which everybody knows, as its secret."""
    public = pem(rsa_key())
    authority = rig.by_file(public)
    good = sign({"alg": "RS256"}, rig.issuer.claims(NOW), rsa_key(), "RS256")
    assert (await ask(authority, good)).verdict.allow
    for secret in (public, public.strip(), json.dumps(public_jwk(rsa_key())).encode()):
        await refused(authority, sign({"alg": algorithm}, rig.issuer.claims(NOW), secret, algorithm), "algorithm")


async def test_a_secret_takes_no_other_algorithm(rig: Rig) -> None:
    authority = rig.build(jwt({"secret": "s" * 32}))
    assert (await ask(authority, sign({"alg": "HS256"}, rig.issuer.claims(NOW), b"s" * 32, "HS256"))).verdict.allow
    await refused(authority, sign({"alg": "HS256"}, rig.issuer.claims(NOW), b"S" * 32, "HS256"), "signature")
    await refused(authority, sign({"alg": "HS512"}, rig.issuer.claims(NOW), b"s" * 32, "HS512"), "not known")
    await refused(authority, rig.issuer.token(NOW), "algorithm")


async def test_only_the_algorithms_of_the_config(rig: Rig) -> None:
    authority = rig.by_file(pem(rsa_key()), algorithms=["PS256"])
    assert (await ask(authority, sign({"alg": "PS256"}, rig.issuer.claims(NOW), rsa_key(), "PS256"))).verdict.allow
    await refused(authority, sign({"alg": "RS256"}, rig.issuer.claims(NOW), rsa_key(), "RS256"), "algorithm")


@pytest.mark.parametrize("key", [ec_key(2), okp_key(), rsa_key()])
async def test_somebody_elses_key(rig: Rig, key: Any) -> None:
    algorithm = {"EC": "ES256", "OKP": "EdDSA", "RSA": "RS256"}[key.key_type]
    for name in ("jwk", "jku", "x5u"):
        shown = public_jwk(key) if name == "jwk" else "https://thief.example/keys"
        header = {"alg": algorithm, "kid": rig.issuer.kid, name: shown}
        why = "signature" if algorithm == "ES256" else "not known"
        await refused(rig.by_file(), sign(header, rig.issuer.claims(NOW), key, algorithm), why)


@pytest.mark.parametrize(
    ("changes", "why", "ttl"),
    [
        ({"exp": NOW - 30}, "has expired", 10), ({"exp": NOW - 1e6}, "has expired", 10), ({"exp": None}, "never expires", 10),
        ({"exp": "tomorrow"}, "exp is not a time", 10), ({"nbf": NOW + 31}, "not valid yet", 1), ({"nbf": NOW + 1e6}, "not valid yet", 10),
        ({"iat": NOW + 34}, "from the future", 4), ({"aud": "other"}, "somebody else", 10), ({"aud": None}, "somebody else", 10),
        ({"aud": ["x", "Shop"]}, "somebody else", 10), ({"iss": "https://id.example.com/"}, "another issuer", 10),
        ({"iss": None}, "another issuer", 10), ({"sub": "a\r\nX-Admin: 1"}, "control characters", 10), ({"sub": "a" * 300}, "too long", 10),
    ],
)
async def test_claims(rig: Rig, changes: dict[str, Any], why: str, ttl: float) -> None:
    await refused(rig.by_file(), rig.issuer.token(NOW, **changes), why, ttl=ttl)


async def test_the_clocks_may_differ(rig: Rig) -> None:
    each: list[dict[str, Any]] = [{"exp": NOW - 29}, {"nbf": NOW + 29}, {"iat": NOW + 29}]
    for changes in each:
        assert (await ask(rig.by_file(), rig.issuer.token(NOW, **changes))).verdict.allow
        assert not (await ask(rig.by_file(skew="0s"), rig.issuer.token(NOW, **changes))).verdict.allow


@pytest.mark.parametrize(
    ("header", "why"),
    [({"crit": ["x"], "x": 1}, "extension"), ({"b64": False, "crit": ["b64"]}, "extension"), ({"typ": "logout+jwt"}, "another type")],
)
async def test_headers(rig: Rig, header: dict[str, object], why: str) -> None:
    await refused(rig.by_file(), rig.issuer.token(NOW, header), why)


async def test_types(rig: Rig) -> None:
    usual, strict = rig.by_file(), rig.by_file(types="at+jwt")
    untyped = sign({"alg": "ES256"}, rig.issuer.claims(NOW), rig.issuer.key, "ES256")
    for typ in ("JWT", "jwt", "at+jwt", "application/at+jwt", "AT+JWT"):
        token = rig.issuer.token(NOW, {"typ": typ})
        assert (await ask(usual, token)).verdict.allow
        assert (await ask(strict, token)).verdict.allow == (typ.lower() != "jwt")
    assert (await ask(usual, untyped)).verdict.allow
    await refused(strict, untyped, "another type")


async def test_huge_tokens(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused before any cryptography, and before it is split."""
    authority = rig.by_file(max_token="1KiB")
    token = rig.issuer.token(NOW, padding="x" * 1024)
    monkeypatch.setattr("proxyd.gateway.jwt.verify", None)
    await refused(authority, token, "too large")
    await refused(authority, "x" * 10_000_000, "too large")


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "....", "Bearer x.y.z", "\N{LATIN SMALL LETTER E WITH ACUTE}.b.c", "a" * 4000])
async def test_what_is_no_token(rig: Rig, text: str) -> None:
    await refused(rig.by_file(), text, "token")


@pytest.mark.parametrize(
    "claims", [b"[]", b"{", b'{"iss": "%s", "aud": "shop", "exp": 1900000000, "exp": 1900000001}' % ISSUER.encode(), b"{}" * 2, b"\xff"]
)
async def test_json_junk(rig: Rig, claims: bytes) -> None:
    await refused(rig.by_file(), sign({"alg": "ES256"}, claims, rig.issuer.key, "ES256"), "make no sense")


async def test_scope_and_claims(rig: Rig) -> None:
    authority = rig.by_file(require={"scope": ["shop.read", "shop.write"], "role": "clerk", "mail.verified": True})
    good: dict[str, Any] = {"scope": "shop.read shop.write", "role": ["boss", "clerk"], "mail": {"verified": True}}
    assert (await ask(authority, rig.issuer.token(NOW, **good))).verdict.allow
    await refused(authority, rig.issuer.token(NOW, **{**good, "scope": "shop.read"}), "has not the scope shop.write", status=403)
    await refused(authority, rig.issuer.token(NOW, **{**good, "role": "boss"}), "the claim role", status=403)
    await refused(authority, rig.issuer.token(NOW, **{**good, "mail": {"verified": "yes"}}), "the claim mail.verified", status=403)
    decided = await ask(authority, rig.issuer.token(NOW, **{**good, "scope": ""}))
    assert decided.verdict.head.endswith(b', scope="shop.read shop.write"\r\n')


async def test_any_issuer_and_audience(rig: Rig) -> None:
    authority = rig.by_file(issuer="any", audience="any")
    assert (await ask(authority, rig.issuer.token(NOW, iss="x", aud=None))).verdict.allow


async def test_a_flood_is_looked_at_one_in_a_turn(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else the loop has to do comes between two signatures."""
    turn, seen = 0, []

    async def go_on() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    def noted(token: Token, keys: KeySet) -> dict[str, Any] | None:
        seen.append(turn)
        return verify(token, keys)

    monkeypatch.setattr("proxyd.gateway.jwt.verify", noted)
    authority, other = rig.by_file(), asyncio.create_task(go_on())
    answers = await asyncio.gather(*(ask(authority, rig.issuer.token(NOW, jti=number)) for number in range(50)))
    other.cancel()
    assert all(answer.verdict.allow for answer in answers)
    assert len(seen) == len(set(seen)) == 50


# ------------------------------------------------------------------ keys that are fetched
async def test_rotation(rig: Rig) -> None:
    """A token of the new key passes at once; one of the old key, once the set has dropped it, does not."""
    async with serving(Server(rig.issuer)) as server:
        authority = rig.by_server(server)
        old = rig.issuer.token(NOW)
        assert (await ask(authority, old)).verdict.allow
        rig.issuer.rotate()
        assert (await ask(authority, rig.issuer.token(NOW))).verdict.allow
        assert server.requests == 2
        await refused(authority, old, "not known", ttl=10)


async def test_an_unknown_key(rig: Rig) -> None:
    async with serving(Server(rig.issuer)) as server:
        authority = rig.by_server(server)
        assert (await ask(authority, rig.issuer.token(NOW))).verdict.allow
        thief = Issuer()
        for number in range(50):
            await refused(authority, thief.token(NOW, {"kid": f"made-up-{number}"}), "not known", ttl=DEMAND_GAP_S)
        assert server.requests == 2, "one fetch for all of them"
        rig.clock.pass_time(7)
        await refused(authority, thief.token(NOW, {"kid": "made-up"}), "not known", ttl=3)
        await refused(authority, thief.token(NOW, {"kid": rig.issuer.kid}), "signature")
        assert server.requests == 2
        rig.clock.pass_time(3)
        await refused(authority, thief.token(NOW, {"kid": "made-up"}), "not known")
        assert server.requests == 3


async def test_keys_without_names_are_looked_for_too(rig: Rig) -> None:
    async with serving(Server(rig.issuer)) as server:
        authority = rig.by_server(server)
        for _ in range(2):
            unnamed = sign({"alg": "ES256"}, rig.issuer.claims(NOW), rig.issuer.key, "ES256")
            assert (await ask(authority, unnamed)).verdict.allow
            rig.issuer.rotate()


async def test_the_issuer_is_down_for_ten_minutes(rig: Rig) -> None:
    async with serving(Server(rig.issuer)) as server:
        authority = rig.by_server(server)
        assert (await ask(authority, rig.issuer.token(rig.now))).verdict.allow
        server.up = False
        for _ in range(10):
            rig.clock.pass_time(60)
            assert (await ask(authority, rig.issuer.token(rig.now))).verdict.allow
            await refused(authority, rig.issuer.token(rig.now, exp=rig.now - 60), "expired")
        stranger = rig.issuer.token(rig.now, {"kid": "new"})
        for _ in range(3):
            with pytest.raises(AuthUnavailable, match="status 503"):
                await ask(authority, stranger)
        assert server.requests == 2
        [view] = authority.views()
        assert (view.keys, view.age_s, view.failures) == (1, 600, 1)


async def test_a_cold_start_without_the_issuer(rig: Rig) -> None:
    async with serving(Server(rig.issuer, up=False)) as server:
        authority = rig.by_server(server)
        for _ in range(2):
            with pytest.raises(AuthUnavailable, match=r"there are no keys of .*: status 503"):
                await ask(authority, rig.issuer.token(NOW))
        await refused(authority, "nonsense", "not a signed token")
        server.up = True
        await rig.clock.sleeping(1)
        await rig.clock.advance(1)
        assert (await ask(authority, rig.issuer.token(NOW))).verdict.allow


async def test_discovery_and_issuers_that_speak_for_themselves_alone(rig: Rig) -> None:
    async with serving(Server(Issuer())) as first, serving(Server(Issuer())) as second:
        for server in (first, second):
            server.issuer.name = server.base
        authority = rig.build(jwt(issuer=[first.base, second.base]))
        for server in (first, second):
            assert (await ask(authority, server.issuer.token(NOW))).verdict.allow
        forged = sign({"alg": "ES256", "kid": first.issuer.kid}, first.issuer.claims(NOW, iss=second.base), first.issuer.key, "ES256")
        await refused(authority, forged, "signature")
        await refused(authority, rig.issuer.token(NOW), "another issuer")
        await refused(authority, first.issuer.token(NOW, iss=None), "another issuer")
        await refused(authority, first.issuer.token(NOW, iss=[first.base]), "another issuer")
        assert (first.requests, second.requests) == (2, 2)
