"""Issue 5, acceptance 4: the token set, each with its stated outcome, over the real daemon; and paths that try to get around a policy.

The issuer's JWKS and the origin are in this process. What is refused never reaches the origin, which notes every request that it sees.
"""
from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from aiohttp import web

from tests.acceptance.stage import Proxyd, ending, free_port
from tests.support.client import Response, connect
from tests.support.origin import Origin, answer
from tests.support.tokens import Issuer, ec_key, encode_json, okp_key, public_jwk, rsa_key, sign
from tests.support.wait import until

SECRET = "the secret page"
REFRESH_S = 10


class Keys:
    """The issuer's server."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer, self.port = issuer, free_port()
        self.requests = 0
        self._runner: web.AppRunner | None = None

    async def up(self) -> None:
        app = web.Application()
        app.router.add_get("/keys", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def down(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _answer(self, _request: web.Request) -> web.Response:
        self.requests += 1
        keys = [*json.loads(self.issuer.jwks())["keys"], public_jwk(rsa_key(), kid="rsa"), public_jwk(okp_key(), kid="okp")]
        return web.json_response({"keys": keys})


class Scene:
    def __init__(self, keys: Keys, origin: Origin, proxyd: Proxyd, port: int) -> None:
        self.keys, self.issuer, self.origin, self.proxyd, self.port = keys, keys.issuer, origin, proxyd, port

    async def get(self, target: str, token: str | None = None, *fields: str) -> Response:
        """One request on a connection of its own."""
        async with connect(self.port) as client:
            shown = [f"Authorization: Bearer {token}"] if token is not None else []
            return await client.get(target, *shown, *fields, "Connection: close")

    def seen(self) -> list[str]:
        """Targets that the origin was asked for, since the last time."""
        found = [head.split(b" ", 2)[1].decode("latin-1") for head in self.origin.heads]
        self.origin.heads.clear()
        return found

    async def passes(self, token: str, target: str = "/admin/x") -> None:
        got = await self.get(target, token)
        assert (got.status, got.body.decode()) == (200, SECRET), (got, self.proxyd.output())
        assert self.seen() == [target]

    async def comes_to_pass(self, token: str, status: int, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (got := await self.get("/admin/x", token)).status != status:
            assert time.monotonic() < end, (got, self.proxyd.output())
            await asyncio.sleep(0.1)
        self.origin.heads.clear()

    async def refused(self, token: str | None, status: int, error: str = "", target: str = "/admin/x") -> None:
        got = await self.get(target, token)
        assert got.status == status, (got, self.proxyd.output())
        assert SECRET not in got.body.decode()
        if status in (401, 403):
            challenge = got.field("www-authenticate") or ""
            assert challenge.startswith('Bearer realm="sso"'), got
            assert (f'error="{error}"' in challenge) if error else ("error" not in challenge), challenge
        assert self.seen() == [], "the origin was asked"


@contextlib.asynccontextmanager
async def playing(folder: Path, *, keys_up: bool = True) -> AsyncIterator[Scene]:
    keys, port = Keys(Issuer()), free_port()
    if keys_up:
        await keys.up()
    async with Origin("app") as origin:
        origin.answer = answer(200, SECRET.encode())
        options = f"issuer: '{keys.issuer.name}', audience: shop, keys: 'http://127.0.0.1:{keys.port}/keys', refresh: {REFRESH_S}s"
        proxyd = await asyncio.to_thread(Proxyd, folder, (
            "runtime: {threads: 2}\nlog: {access: none}\ndefaults: {access: deny}\n"
            f"listeners: {{web: {{bind: ['127.0.0.1:{port}']}}}}\n"
            f"upstreams: {{app: {{servers: ['{origin.address}'], health: {{active: none, passive: none}}}}}}\n"
            "policies:\n"
            f"  sso: {{auth: {{jwt: {{{options}, require: {{scope: shop.read}}, forward: {{sub: X-User}}}}}}}}\n"
            "routes:\n"
            "  - {match: /admin/*, to: app, use: sso}\n"
            "  - {match: /public/*, to: app, use: public}\n"
        ))
        with ending(proxyd):
            yield Scene(keys, origin, proxyd, port)
            assert await asyncio.to_thread(proxyd.end) == 0, proxyd.output()
    await keys.down()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with playing(tmp_path) as made:
        await made.passes(good(made.issuer))
        yield made


def good(issuer: Issuer, header: Mapping[str, object] | None = None, **changes: object) -> str:
    return issuer.token(time.time(), header, **{"scope": "shop.read", **changes})


# ------------------------------------------------------------------ the token set
async def test_tokens(scene: Scene) -> None:
    issuer, now = scene.issuer, time.time()
    claims = issuer.claims(now, scope="shop.read")
    public = rsa_key().as_pem(private=False)
    invalid = {
        "alg none": f"{encode_json({'alg': 'none'})}.{encode_json(claims)}.",
        "alg None": f"{encode_json({'alg': 'None', 'kid': issuer.kid})}.{encode_json(claims)}.",
        "no signature": good(issuer).rpartition(".")[0] + ".",
        "key confusion, HMAC with the public key": sign({"alg": "HS256", "kid": "rsa"}, claims, public, "HS256"),
        "key confusion, HMAC with the JWK": sign({"alg": "HS256"}, claims, json.dumps(public_jwk(rsa_key())).encode(), "HS256"),
        "key confusion, another kind": sign({"alg": "RS256", "kid": issuer.kid}, claims, rsa_key(2), "RS256"),
        "somebody else's key": sign({"alg": "ES256", "kid": issuer.kid}, claims, ec_key(), "ES256"),
        "a key that it brings along": sign({"alg": "ES256", "jwk": public_jwk(ec_key())}, claims, ec_key(), "ES256"),
        "a key from elsewhere": sign({"alg": "ES256", "jku": "https://thief.example/keys"}, claims, ec_key(), "ES256"),
        "expired": good(issuer, exp=int(now) - 31),
        "never expires": good(issuer, exp=None),
        "not yet valid": good(issuer, nbf=int(now) + 60),
        "from the future": good(issuer, iat=int(now) + 60),
        "wrong audience": good(issuer, aud="desk"),
        "no audience": good(issuer, aud=None),
        "wrong issuer": good(issuer, iss="https://thief.example"),
        "unknown key": good(issuer, {"kid": "unknown"}),
        "critical header": good(issuer, {"crit": ["x"], "x": 1}),
        "another type": good(issuer, {"typ": "logout+jwt"}),
        "claim twice": sign({"alg": "ES256"}, json.dumps(claims).encode()[:-1] + b', "sub": "bob"}', issuer.key, "ES256"),
        "claims that are none": sign({"alg": "ES256"}, b"[1]", issuer.key, "ES256"),
        "a user with a line break": good(issuer, sub="ann\r\nX-Admin: 1"),
        "too large": good(issuer, padding="x" * 8192),
        "encrypted": "a.b.c.d.e",
        "no token": "opensesame",
        "other base64": good(issuer) + "=",
    }
    for token in invalid.values():
        for _ in range(2):      # asked about, and remembered
            await scene.refused(token, 401, "invalid_token")
    await scene.refused(good(issuer, scope="shop.write"), 403, "insufficient_scope")
    await scene.refused(None, 401)
    await scene.passes(good(issuer))
    await scene.passes(sign({"alg": "RS256", "kid": "rsa"}, claims, rsa_key(), "RS256"))
    await scene.passes(sign({"alg": "EdDSA"}, claims, okp_key(), "EdDSA"))
    await scene.passes(good(issuer, exp=int(now) - 10))
    huge = await scene.get("/admin/x", "x" * 200_000)
    assert huge.status in (400, 431), huge
    assert scene.seen() == []


async def test_an_expired_token_is_not_remembered_as_good(scene: Scene) -> None:
    """What is remembered ends with the token (and the skew)."""
    token = good(scene.issuer, exp=int(time.time()) - 27)
    await scene.passes(token)
    await scene.comes_to_pass(token, 401, 10)


async def test_who_a_client_says_it_is(scene: Scene) -> None:
    for target, token in (("/admin/x", good(scene.issuer)), ("/public/x", None)):
        got = await scene.get(target, token, "X-User: root", "x-user: root", "X_User: root")
        assert got.status == 200
        [head] = scene.origin.heads
        scene.origin.heads.clear()
        lines = [line for line in head.decode("latin-1").split("\r\n")[1:] if line.lower().replace("_", "-").startswith("x-user:")]
        assert lines == (["X-User: ann"] if token else []), head


async def test_good_tokens_are_asked_about_once(scene: Scene) -> None:
    token, requests = good(scene.issuer, jti="once"), scene.keys.requests
    async with connect(scene.port) as client:
        for _ in range(500):
            assert (await client.get("/admin/x", f"Authorization: Bearer {token}")).status == 200
    scene.seen()
    assert scene.keys.requests - requests <= 1, "but for the refresh of its turn"
    assert scene.proxyd.total("proxyd_auth_requests_total", 'policy="sso"') >= 500


# ------------------------------------------------------------------ keys
async def test_rotation(scene: Scene) -> None:
    old = good(scene.issuer, jti="not asked about before")
    scene.issuer.rotate()
    await scene.passes(good(scene.issuer))          # at once
    await scene.refused(old, 401, "invalid_token")
    scene.issuer.rotate()
    await scene.comes_to_pass(good(scene.issuer), 200, REFRESH_S + 10)      # within 10 s, if it happens twice


async def test_made_up_keys_do_not_become_requests_to_the_issuer(scene: Scene) -> None:
    before, began = scene.keys.requests, time.monotonic()
    for number in range(200):
        await scene.refused(good(scene.issuer, {"kid": f"k-{number}"}), 401, "invalid_token")
    assert scene.keys.requests - before <= 2 + 2 * (time.monotonic() - began) / REFRESH_S


async def test_the_issuer_is_down(scene: Scene) -> None:
    """When its keys are to be fetched anew. (For ten minutes, with the clock set: tests/proxyd/gateway/test_jwt.py.)"""
    await scene.keys.down()
    await until(lambda: "cannot be fetched" in scene.proxyd.output(), "its absence is noticed", seconds=REFRESH_S + 10)
    for number in range(50):
        await scene.passes(good(scene.issuer, jti=number))
    await scene.refused(good(scene.issuer, exp=1), 401, "invalid_token")
    await scene.refused(good(scene.issuer, {"kid": "unknown"}), 503)
    await scene.keys.up()
    await until(lambda: "can be had again" in scene.proxyd.output(), "they are fetched again", seconds=30)
    await scene.passes(good(scene.issuer, jti="afterwards"))


async def test_a_cold_start_without_the_issuer(tmp_path: Path) -> None:
    async with playing(tmp_path, keys_up=False) as scene:
        await scene.refused(good(scene.issuer), 503)
        await scene.refused("nonsense", 401, "invalid_token")
        assert (await scene.get("/public/x")).status == 200
        await scene.keys.up()
        await scene.comes_to_pass(good(scene.issuer), 200, 30)


# ------------------------------------------------------------------ paths
TRICKS = (
    "/admin/x", "/admin/", "/admin", "/admin?", "/admin/x?y", "/admin;a=b/x", "/admin/..;/admin/x",
    # escapes of what needs none, of the slash, of an escape
    "/%61dmin/x", "/%61%64%6D%69%6e/x", "/a%64min/x", "/admin%2fx", "/admin%2Fx", "/%2fadmin/x", "/%2561dmin/x",
    "/admin%252fx", "/%2F%61dmin%2Fx",
    # dot segments, plain and escaped
    "/./admin/x", "/admin/./x", "/public/../admin/x", "/public/a/../../admin/x", "/public/%2e%2e/admin/x", "/public/.%2e/admin/x",
    "/public/%2E./admin/x", "/public/../public/../admin/x", "/nothing/../admin/x", "/../admin/x", "/%2e%2e/admin/x",
    "/public/../../admin/x",
    "/public/..", "/public/../", "/./../admin/x", "/admin/../admin/x", "/public/%2e%2e%2fadmin/../../admin/x",
    # double slashes, backslashes
    "//admin/x", "///admin/x", "/admin//x", "//admin//x", "/.//admin/x", "/public/..//admin/x", "/public//../../admin/x",
    "\\admin\\x", "/\\admin/x",
    "/admin\\x", "/%5cadmin/x", "/public/..\\admin/x/../../../admin/x",
    # case, and what looks alike
    "/ADMIN/x", "/Admin/x", "/aDmIn/x", "/%41dmin/x", "/admi\N{LATIN SMALL LETTER DOTLESS I}n/x", "/admin%00/x", "/admin%00", "/admin%20/x",
    "/admin%09/x", "/admin./x", "/%C0%AEadmin/x", "/%c0%afadmin/x", "/\N{FULLWIDTH SOLIDUS}admin/x",
    # other forms of the target
    "http://test/admin/x", "http://other/admin/x", "HTTP://test//admin/x", "http://test/public/../admin/x", "http://test@evil/admin/x",
    "test/admin/x", "*", "admin/x", "?/admin/x", "/?/../admin/x", "#/admin/x", "/public#/../admin/x",
)


async def test_no_path_gets_around_the_policy(scene: Scene) -> None:
    """Without a token the origin sees nothing: each of them is the protected route's (401), nobody's (403, 404) or no path at all (400)."""
    for target in TRICKS:
        for fields in ((), ("X-Original-URL: /public/x", "X-Rewrite-URL: /public/x"), ("X-HTTP-Method-Override: HEAD",)):
            got = await scene.get(target, None, *fields)
            assert got.status in (400, 401, 403, 404), (target, got)
            assert SECRET not in got.body.decode("latin-1"), target
            assert scene.seen() == [], target


async def test_no_method_gets_around_the_policy(scene: Scene) -> None:
    for method in ("HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "get", "FOO"):
        async with connect(scene.port) as client:
            await client.send(f"{method} /admin/x HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            got = await client.response(head_only=True)
        assert got.status in (400, 401, 405, 501), (method, got)
        assert scene.seen() == [], method


async def test_what_passes_is_sent_in_the_form_that_was_judged(scene: Scene) -> None:
    """The origin gets the normal form, the very path that the routes have seen; so it cannot come to another conclusion by the RFC's rules.
    An escaped slash is no slash there (RFC 3986 section 2.2), and it stays one."""
    token = good(scene.issuer)
    for target, sent in {
        "/%61dmin/x": "/admin/x", "/public/../admin/./x": "/admin/x", "/public/%2e%2e/admin/y": "/admin/y", "/admin/a%2fb": "/admin/a%2Fb",
        "/admin//x": "/admin//x", "/admin/x/../y?z=%2e%2e": "/admin/y?z=%2e%2e",
    }.items():
        got = await scene.get(target, token)
        assert (got.status, scene.seen()) == (200, [sent]), target
    for target, sent in {"/public/a/../b": "/public/b", "/public/x%2fy": "/public/x%2Fy", "/admin/../public/z": "/public/z"}.items():
        got = await scene.get(target)
        assert (got.status, scene.seen()) == (200, [sent]), target


async def test_pipelined_requests_are_judged_one_by_one(scene: Scene) -> None:
    """A request that waits for its verdict holds back those behind it, and lends them nothing."""
    fresh = good(scene.issuer, jti="pipelined")
    async with connect(scene.port) as client:
        line = "GET /admin/{} HTTP/1.1\r\nHost: test\r\n{}\r\n"
        shown = f"Authorization: Bearer {fresh}\r\n"
        await client.send("".join([line.format("1", shown), line.format("2", ""), line.format("3", shown)]).encode())
        assert [(await client.response()).status for _ in range(3)] == [200, 401, 200]
    assert scene.seen() == ["/admin/1", "/admin/3"]


async def test_two_tokens_are_none(scene: Scene) -> None:
    """Whichever is looked at, the server might look at the other one."""
    ours, other = good(scene.issuer), good(scene.issuer, aud="desk")
    for first, second in ((ours, other), (other, ours)):
        got = await scene.get("/admin/x", first, f"Authorization: Bearer {second}")
        assert got.status in (400, 401), got
        assert scene.seen() == []
