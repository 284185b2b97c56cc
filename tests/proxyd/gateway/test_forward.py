from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import web

from proxyd.gateway.authority import Asked, AuthUnavailable, Decided
from proxyd.gateway.forward import BODY_MAX, ForwardAuthority, build
from proxyd.gateway.parts import Parts
from tests.support.config import config_of
from tests.support.gateway import World, asked
from tests.support.wait import until

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Service:
    """An HTTP service on a port of its own that answers as the test says, and notes what it was asked."""

    def __init__(self) -> None:
        self.seen: list[web.Request] = []
        self.peers: set[object] = set()
        self.answer: Answer = self._ok
        self.headers: list[tuple[str, str]] = []
        self.status, self.body = 200, b""

    async def _ok(self, request: web.Request) -> web.StreamResponse:
        response = web.Response(status=self.status, body=self.body)
        for name, value in self.headers:
            response.headers.add(name, value)
        return response

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request)
        assert request.transport is not None
        self.peers.add(request.transport.get_extra_info("peername"))
        return await self.answer(request)

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self._handle)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    def says(self, status: int, *headers: tuple[str, str], body: bytes = b"") -> None:
        self.status, self.headers, self.body = status, list(headers), body


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made = Service()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def make(service: Service) -> AsyncIterator[Callable[..., ForwardAuthority]]:
    made: list[ForwardAuthority] = []

    def new(options: str = "", common: str = "", port: int = 0) -> ForwardAuthority:
        url = f"http://127.0.0.1:{port or service.port}/check?a=b"
        policy = f"{{forward: {{url: '{url}'{options and ', ' + options}}}{common and ', ' + common}}}"
        config = config_of(f"listen: ':1'\nroutes: [{{use: p, respond: 200}}]\npolicies: {{p: {{auth: {policy}}}}}\n")
        auth = config.policies["p"].auth
        assert auth is not None
        world = World(Path())
        made.append(build(Parts("p", auth, config, world.tasks, world.clock, world.gateway.consumers, world.gateway.passwords)))
        return made[-1]

    yield new
    for authority in made:
        await authority.close()


Make = Callable[..., ForwardAuthority]
ASKED = asked(target="/a%20b?c=d", method="DELETE", Host="Shop.example.com:8443", Authorization="Bearer x", X_Secret="s", Cookie="a=1")


async def decide(authority: ForwardAuthority, question: Asked = ASKED) -> Decided:
    async with asyncio.timeout(10):
        return await authority.decide(question)


# ------------------------------------------------------------------ what it is asked
async def test_it_gets_what_identifies_the_credential_and_where_the_request_goes(make: Make, service: Service) -> None:
    await decide(make())
    (request,) = service.seen
    assert (request.method, request.raw_path) == ("GET", "/check?a=b")
    expected = {
        "Authorization": "Bearer x", "Cookie": "a=1", "X-Forwarded-Method": "DELETE", "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "Shop.example.com:8443", "X-Forwarded-Uri": "/a%20b?c=d", "X-Forwarded-For": "192.0.2.7",
        "Host": f"127.0.0.1:{service.port}", "Accept-Encoding": "identity", "User-Agent": "proxyd",
    }
    assert {name: request.headers.get(name) for name in expected} == expected
    assert "X-Secret" not in request.headers


async def test_which_fields_and_which_method_the_policy_says(make: Make, service: Service) -> None:
    await decide(make("method: POST, request_fields: [x-secret, User-Agent]"), asked(X_Secret="jÃ©", User_Agent="u", Authorization="y"))
    (request,) = service.seen
    assert (request.method, request.headers.getall("User-Agent"), request.headers["X-Secret"]) == ("POST", ["u"], "jé")
    assert "Authorization" not in request.headers
    assert await request.read() == b""


@pytest.mark.parametrize(("field", "told"), [
    ("other.example.com", "shop.example.com"), ("other.example.com:80", "shop.example.com"), ("SHOP.example.com:80", "SHOP.example.com:80"),
    ("shop.example.com.", "shop.example.com"), ("shop.example.com:x", "shop.example.com"),
])
async def test_it_is_told_the_host_that_routes_have_seen(make: Make, service: Service, field: str, told: str) -> None:
    """Behind an absolute target Host may say anything: who may use that host must not get to this one."""
    await decide(make(), asked(Host=field))
    assert service.seen[0].headers["X-Forwarded-Host"] == told


async def test_a_field_that_came_twice_goes_twice(make: Make, service: Service) -> None:
    question = Asked("GET", "/", "http", "::1", "1", "h", (("Cookie", "a"), ("cookie", "b")), "")
    await decide(make(), question)
    assert service.seen[0].headers.getall("Cookie") == ["a", "b"]


async def test_bytes_that_are_no_text_are_refused_without_asking(make: Make, service: Service) -> None:
    decided = await decide(make(), asked(Authorization="\xff"))
    assert (decided.verdict.allow, decided.verdict.status, decided.ttl) == (False, 401, 0)
    assert service.seen == []


async def test_the_connection_is_kept(make: Make, service: Service) -> None:
    authority = make()
    for body in (b"", b"x" * BODY_MAX, b""):
        service.says(200, body=body)
        await decide(authority)
    assert (len(service.seen), len(service.peers)) == (3, 1)


# ------------------------------------------------------------------ what it answers
async def test_what_it_says_goes_to_the_server(make: Make, service: Service) -> None:
    service.says(204, ("Remote-User", "jé"), ("Remote-Groups", "a"), ("Remote-Groups", "b"), ("Set-Cookie", "x=y"), ("X-Other", "z"))
    fields = "{Remote-User: X-User, Remote-Groups: X-Groups, Missing: X-None}"
    found = (await decide(make(f"response_fields: {fields}, user: remote-user"))).verdict
    assert (found.allow, found.user) == (True, "jé")
    assert found.lines == "X-User: jé\r\nX-Groups: a\r\nX-Groups: b\r\n".encode()


@pytest.mark.parametrize("status", [401, 403, 301, 302, 303, 307, 308])
async def test_a_refusal_goes_to_the_client_as_it_is(make: Make, service: Service, status: int) -> None:
    service.says(
        status, ("Location", "https://sso/?rd=x"), ("WWW-Authenticate", "Basic"), ("WWW-Authenticate", "Bearer"), ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"), ("Content-Type", "text/html"), ("Cache-Control", "no-store"), ("X-Internal", "y"), body=b"<h1>log in</h1>",
    )
    decided = await decide(make())
    found = decided.verdict
    assert (found.allow, found.status, found.body, decided.ttl) == (False, status, b"<h1>log in</h1>", 0)
    assert found.head.decode().splitlines() == [
        "Location: https://sso/?rd=x", "WWW-Authenticate: Basic", "WWW-Authenticate: Bearer", "Set-Cookie: a=1", "Set-Cookie: b=2",
        "Cache-Control: no-store", "Content-Type: text/html",
    ]


async def test_a_body_that_is_too_long_is_left_out(make: Make, service: Service) -> None:
    service.says(403, body=b"x" * BODY_MAX)
    assert len((await decide(make())).verdict.body) == BODY_MAX
    service.says(403, body=b"x" * (BODY_MAX + 1))
    assert (await decide(make())).verdict.body == b""


@pytest.mark.parametrize("status", [300, 304, 400, 404, 407, 429, 500, 502, 503])
async def test_any_other_status_is_no_verdict(make: Make, service: Service, status: int) -> None:
    service.says(status)
    with pytest.raises(AuthUnavailable, match=str(status)):
        await decide(make())


async def test_a_redirect_is_not_followed(make: Make, service: Service) -> None:
    service.says(302, ("Location", f"http://127.0.0.1:{service.port}/elsewhere"))
    await decide(make())
    assert len(service.seen) == 1


async def test_nobody_there_is_no_verdict(make: Make) -> None:
    with closing(socket.socket()) as bound:      # a port that is taken, and where nobody listens
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(AuthUnavailable, match=r"127\.0\.0\.1"):
            await decide(make(port=bound.getsockname()[1]))


async def test_an_answer_that_breaks_off_is_no_verdict(make: Make, service: Service) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "10"})
        await response.prepare(request)
        await response.write(b"half")
        assert request.transport is not None
        request.transport.abort()
        return response

    service.answer = cut
    with pytest.raises(AuthUnavailable):
        await decide(make())


async def test_fields_beyond_what_a_verdict_holds_are_no_verdict(make: Make, service: Service) -> None:
    service.says(200, ("X-User", "x" * 20_000))
    with pytest.raises(AuthUnavailable):
        await decide(make("response_fields: X-User"))


async def test_a_service_that_never_answers_ends_with_the_policys_timeout(service: Service, tmp_path: Path) -> None:
    gone = asyncio.Event()

    async def never(request: web.Request) -> web.StreamResponse:
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        return web.Response()

    service.answer = never
    world = World(tmp_path)
    await world.follow(f"{{forward: 'http://127.0.0.1:{service.port}/', timeout: 50ms}}")
    world.ask(1, "")
    await until(lambda: world.engine.answers)
    assert world.engine.answers == [(1, None)]
    await asyncio.wait_for(gone.wait(), 10)      # the question was taken back, too
    await world.close()


# ------------------------------------------------------------------ how long it counts
@pytest.mark.parametrize(
    ("common", "control", "ttl"),
    [
        ("", [], 0),
        ("", ["max-age=30"], 30),
        ("", ["private, Max-Age=30"], 30),
        ("", ["max-age=99999999"], 86_400),
        ("", ["max-age=30", "no-store"], 0),
        ("", ["no-cache, max-age=30"], 0),
        ("", ["max-age=x"], 0),
        ("cache: 60s", [], 60),
        ("cache: 60s", ["max-age=30"], 30),
        ("cache: 60s", ["max-age=90"], 60),
        ("cache: 60s", ["max-age=0"], 0),
        ("cache: 60s", ["no-store"], 0),
        ("cache: none", ["max-age=30"], 0),
    ],
)
async def test_how_long_an_answer_counts(make: Make, service: Service, common: str, control: list[str], ttl: float) -> None:
    service.says(200, *(("Cache-Control", value) for value in control))
    assert (await decide(make(common=common))).ttl == ttl


async def test_the_whole_of_it(service: Service, tmp_path: Path) -> None:
    service.says(200, ("X-User", "ann"))
    world = World(tmp_path)
    await world.follow(f"{{forward: {{url: 'http://127.0.0.1:{service.port}/', response_fields: X-User, user: X-User}}, cache: 1m}}")
    world.ask(1, "cookie")
    await until(lambda: world.engine.answers)
    remembered = world.verdicts().find(b"cookie".ljust(16, b"\0"))
    assert remembered is not None
    assert (remembered.user, remembered.lines) == ("ann", b"X-User: ann\r\n")
    assert world.engine.verdict(1).user == "ann"
    service.says(500)
    world.ask(2, "other")
    await until(lambda: len(world.engine.answers) == 2)
    assert world.engine.answers[1] == (2, None)
    await world.close()
