"""Users, roles and sessions, asked over TCP as commands and browsers do."""
from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import bcrypt
import pytest
from aiohttp import web

from proxyd.admin.address import TcpAddress, parse_address
from proxyd.admin.attempts import BURST
from proxyd.admin.client import Client, Refused
from proxyd.admin.login import LOG_IN_BYTES
from proxyd.admin.request import EVENTS, View, asker, user
from proxyd.admin.server import AdminServer
from proxyd.admin.sessions import TOKEN_S
from proxyd.admin.views import Views
from proxyd.config import Config, load_text
from tests.support.clock import FakeClock
from tests.support.wait import until

PASSWORDS = {"VIEW": "look and see", "OPS": "drain the swamp", "ADMIN": "root of all"}
BROWSER = {"User-Agent": "Mozilla/5.0", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}


def config_with(users: str, *binds: str, hosts: str = "[]") -> Config:
    admin = f"{{bind: {json.dumps(binds)}, hosts: {hosts}, users: {{{users}}}}}"
    result = load_text(f"listen: ':1'\nto: 'a:1'\nadmin: {admin}\n", env=PASSWORDS)
    assert result.config is not None, result.errors
    return result.config


USERS = (
    "val: {role: viewer, password: '${env:VIEW}'}, ops: {role: operator, password: '${env:OPS}'}, "
    "ada: {role: admin, password: '${env:ADMIN}'}"
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def guarded(daemon: Any, socket_path: str, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AdminServer]:
    """A server with users, and a stream that ends only when it is ended."""
    streams = StreamViews()
    init = Views.__init__

    def with_stream(views: Views, *arguments: Any) -> None:
        init(views, *arguments)
        views.table += (View("GET", "/forever", streams.forever, "a stream", answers=EVENTS), View("GET", "/name", streams.name, "who"))

    monkeypatch.setattr(Views, "__init__", with_stream)
    found = AdminServer(daemon, clock=clock)
    await found.apply(config_with(USERS, f"unix:{socket_path}", "127.0.0.1:0", hosts="[proxy.internal]"))
    await found.begin()
    yield found
    await found.close()


class StreamViews:
    async def forever(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": EVENTS})
        await answer.prepare(request)
        await answer.write(b": begins\n\n")
        await asyncio.Event().wait()
        return answer

    async def name(self, request: web.Request) -> web.Response:
        return web.json_response([user(request), asker(request)])


@dataclass
class Asked:
    status: int
    fields: Any
    body: Any

    @property
    def code(self) -> str:
        return str(self.body["code"])


Ask = Callable[..., Awaitable[Asked]]


@pytest.fixture
async def browser(guarded: AdminServer) -> AsyncIterator[Ask]:
    """Keeps cookies, as one browser does."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(f"http://{guarded.addresses[1]}", cookie_jar=jar) as session:
        yield sender(session)


@pytest.fixture
async def tcp(guarded: AdminServer) -> AsyncIterator[Ask]:
    async with aiohttp.ClientSession(f"http://{guarded.addresses[1]}", cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield sender(session)


def sender(session: aiohttp.ClientSession) -> Ask:
    async def send(method: str, path: str, **words: Any) -> Asked:
        async with session.request(method, f"/api/v1{path}", **words) as answer:
            return Asked(answer.status, answer.headers, await answer.json(content_type=None))

    return send


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


async def log_in(ask: Ask, name: str = "ops", password: str = PASSWORDS["OPS"]) -> Asked:
    return await ask("POST", "/session", json={"user": name, "password": password}, headers=BROWSER)


# ------------------------------------------------------------------ Basic
async def test_tcp_asks_who_it_is(tcp: Ask, daemon: Any) -> None:
    for method, path in (("GET", "/status"), ("GET", ""), ("GET", "/metrics"), ("POST", "/stop")):
        asked = await tcp(method, path, headers={"X-Proxyd-Request": "1"})
        assert (asked.status, asked.code) == (401, "PXD-270")
        assert asked.fields["WWW-Authenticate"].startswith("Basic ")
    assert daemon.asked == []


async def test_a_browser_gets_no_dialog(tcp: Ask) -> None:
    for fields in (BROWSER, {"User-Agent": "Mozilla/5.0 (X11)"}, {"Sec-Fetch-Mode": "navigate"}):
        assert not (await tcp("GET", "/status", headers=fields)).fields["WWW-Authenticate"].startswith("Basic ")


async def test_names_and_passwords(tcp: Ask) -> None:
    assert (await tcp("GET", "/status", headers=basic("val", PASSWORDS["VIEW"]))).status == 200
    for name, password in (("val", "wrong"), ("val", ""), ("nobody", PASSWORDS["VIEW"]), ("ops", PASSWORDS["VIEW"])):
        asked = await tcp("GET", "/status", headers=basic(name, password))
        assert (asked.status, asked.code, asked.body["detail"]) == (401, "PXD-271", "the user or the password is wrong")
    for credential in ("Basic", "Basic !", "Basic dmFs", "Bearer x"):
        assert (await tcp("GET", "/status", headers={"Authorization": credential})).status == 401


async def test_the_hash_of_a_password(daemon: Any) -> None:
    stored = "$2y" + bcrypt.hashpw(b"correct horse", bcrypt.gensalt(4)).decode()[3:]
    server = AdminServer(daemon)
    await server.apply(config_with(f"ops: {{role: viewer, password: '{stored}'}}", "127.0.0.1:0"))
    await server.begin()
    async with aiohttp.ClientSession(f"http://{server.addresses[0]}") as session:
        found = [(await sender(session)("GET", "/status", headers=basic("ops", password))).status for password in ("correct horse", stored)]
    assert found == [200, 401]
    await server.close()


@pytest.mark.parametrize(("name", "password", "allowed"), [
    ("val", PASSWORDS["VIEW"], 1), ("ops", PASSWORDS["OPS"], 2), ("ada", PASSWORDS["ADMIN"], 3),
])
async def test_roles(name: str, password: str, allowed: int, tcp: Ask, daemon: Any) -> None:
    orders: tuple[tuple[str, str, Any], ...] = (
        ("POST", "/check", None), ("PATCH", "/upstreams/app/servers/10.0.0.1:80", {"state": "drain"}), ("POST", "/config", None),
    )
    found = [await tcp(method, path, json=body, headers=basic(name, password)) for method, path, body in orders]
    assert [asked.status for asked in found] == [200] * allowed + [403] * (3 - allowed)
    for asked, needed in list(zip(found, ("viewer", "operator", "admin"), strict=True))[allowed:]:
        assert asked.code == "PXD-272"
        assert f"takes the role {needed}" in asked.body["detail"]
    assert len(daemon.asked) == allowed - 1
    if allowed > 1:
        assert daemon.asked[0][4] == name, "changes are signed"


@pytest.mark.parametrize(("method", "path", "body"), [
    ("POST", "/check", b"include: {file}\n"), ("GET", "/config/diff?path={file}", None),
])
async def test_files_of_the_machine_are_not_for_viewers(method: str, path: str, body: bytes | None, tcp: Ask, tmp_path: Path) -> None:
    """Findings quote what they are about: with the name of any file, they would tell what stands in it."""
    secret = tmp_path / "shadow"
    secret.write_text("root:hash-of-root\n")
    sent = body and body.replace(b"{file}", bytes(secret))
    for name, password, status in (("val", "VIEW", 403), ("ops", "OPS", 403), ("ada", "ADMIN", 200)):
        fields = basic(name, PASSWORDS[password]) | {"Content-Type": "application/yaml"}
        asked = await tcp(method, path.replace("{file}", str(secret)), data=sent, headers=fields)
        assert asked.status == status, asked.body
        assert ("hash-of-root" in json.dumps(asked.body)) <= (status == 200)


async def test_texts_with_what_is_secret_in_them_are_not_for_viewers(tcp: Ask) -> None:
    """A password may stand in the file, and a viewer must not become an admin by it."""
    for name, password, allowed in (("val", "VIEW", False), ("ops", "OPS", False), ("ada", "ADMIN", True)):
        found = [(await tcp("GET", path, headers=basic(name, PASSWORDS[password]))).status for path in (
            "/config", "/config?view=file", "/config/history/4", "/config?view=running", "/config/history", "/config/diff")]
        assert found == [*([200] * 3 if allowed else [403] * 3), 200, 200, 200]


async def test_strangers_do_not_fill_our_memory(tcp: Ask) -> None:
    body = json.dumps({"user": "ops", "password": PASSWORDS["OPS"], "more": "x" * LOG_IN_BYTES}).encode()
    asked = await tcp("POST", "/session", data=body, headers=BROWSER | {"Content-Type": "application/json"})
    assert (asked.status, asked.code) == (413, "PXD-245")


async def test_who_asks_has_a_name(tcp: Ask) -> None:
    assert (await tcp("GET", "/name", headers=basic("ops", PASSWORDS["OPS"]))).body == ["ops", "ops at 127.0.0.1"]


async def test_guessing_takes_its_time(tcp: Ask, clock: FakeClock, browser: Ask) -> None:
    assert (await log_in(browser)).status == 200
    for _ in range(BURST):
        assert (await tcp("GET", "/status", headers=basic("ops", "wrong"))).status == 401
    for password in ("wrong", PASSWORDS["OPS"]):
        asked = await tcp("GET", "/status", headers=basic("ops", password))
        assert (asked.status, asked.code, asked.fields["Retry-After"]) == (429, "PXD-273", "6"), "the right one is not told apart"
    assert (await log_in(tcp)).status == 429
    assert (await browser("GET", "/status")).status == 200, "who is logged in stays so"
    clock.pass_time(6)
    assert (await tcp("GET", "/status", headers=basic("ops", PASSWORDS["OPS"]))).status == 200


async def test_the_unix_socket_is_admin(guarded: AdminServer) -> None:
    client = Client(parse_address(guarded.addresses[0]))
    facts, stopped = await asyncio.to_thread(lambda: (client.get("/session"), client.post("/stop")))
    assert (facts["role"], facts["asks"]) == ("admin", False)
    assert stopped["stopping"]


async def test_the_command_line_has_credentials(guarded: AdminServer) -> None:
    address = parse_address(guarded.addresses[1])
    assert isinstance(address, TcpAddress)

    def get(user: str, password: str) -> Any:
        return Client(TcpAddress(address.host, address.port, user, password)).get("/session")

    assert (await asyncio.to_thread(get, "val", PASSWORDS["VIEW"]))["role"] == "viewer"
    with pytest.raises(Refused) as refused:
        await asyncio.to_thread(get, "val", "wrong")
    assert refused.value.status == 401


# ------------------------------------------------------------------ sessions
async def test_log_in_and_out(browser: Ask) -> None:
    assert (await browser("GET", "/session")).body == {"user": "", "role": None, "asks": True}
    answer = await log_in(browser)
    assert (answer.status, answer.body["user"], answer.body["role"]) == (200, "ops", "operator")
    cookie = answer.fields["Set-Cookie"]
    assert {part.strip() for part in cookie.split(";")[1:]} == {"HttpOnly", "Path=/", "SameSite=Strict"}
    assert (await browser("GET", "/session")).body == {"user": "ops", "role": "operator", "asks": True}
    assert (await browser("GET", "/status")).status == 200
    assert (await browser("DELETE", "/session", headers={"X-Proxyd-Request": "1"})).body["role"] is None
    assert (await browser("GET", "/status")).status == 401
    assert (await browser("GET", "/status", headers={"Cookie": cookie.partition(";")[0]})).status == 401, "it ended, not only its cookie"


async def test_a_wrong_password_does_not_log_in(browser: Ask) -> None:
    answer = await log_in(browser, password="wrong")
    assert (answer.status, answer.code) == (401, "PXD-271")
    assert "Set-Cookie" not in answer.fields


async def test_behind_tls_every_cookie_is_secure(tcp: Ask, clock: FakeClock) -> None:
    fields = {"Origin": "https://proxy.internal", "Content-Type": "application/json"}
    answer = await tcp("POST", "/session", data=json.dumps({"user": "ops", "password": PASSWORDS["OPS"]}), headers=fields)
    assert "; Secure" in answer.fields["Set-Cookie"]
    clock.pass_time(TOKEN_S)
    renewed = await tcp("GET", "/status", headers={"Cookie": answer.fields["Set-Cookie"].partition(";")[0]})
    assert "; Secure" in renewed.fields["Set-Cookie"]


async def test_the_token_is_replaced(browser: Ask, clock: FakeClock) -> None:
    first = (await log_in(browser)).fields["Set-Cookie"]
    assert "Set-Cookie" not in (await browser("GET", "/status")).fields
    clock.pass_time(TOKEN_S)
    second = (await browser("GET", "/status")).fields["Set-Cookie"]
    assert second.partition(";")[0] != first.partition(";")[0]
    assert (await browser("GET", "/status")).status == 200


async def test_another_password_logs_out_and_another_role_holds_at_once(browser: Ask, guarded: AdminServer) -> None:
    await log_in(browser)
    binds = ("127.0.0.1:0",)
    await guarded.apply(config_with(USERS.replace("operator", "viewer"), *binds))
    assert (await browser("GET", "/session")).body["role"] == "viewer"
    await guarded.apply(config_with(USERS.replace("${env:OPS}", "${env:VIEW}"), *binds))
    assert (await browser("GET", "/session")).body["role"] is None


@pytest.mark.parametrize("how", ["logged out", "user gone", "life over"])
async def test_a_stream_ends_with_the_right_to_see_it(
    how: str, browser: Ask, guarded: AdminServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxyd.admin.access.LIFE_S", 0.02 if how == "life over" else 1e6)
    cookie = (await log_in(browser)).fields["Set-Cookie"].partition(";")[0]
    host, _, port = guarded.addresses[1].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /api/v1/forever HTTP/1.1\r\nHost: {host}:{port}\r\nCookie: {cookie}\r\n\r\n".encode())
    assert b"begins" in await reader.readuntil(b"begins")
    if how == "logged out":
        await browser("DELETE", "/session", headers={"X-Proxyd-Request": "1"})
    elif how == "user gone":
        await guarded.apply(config_with(USERS.replace("ops:", "eve:"), "127.0.0.1:0"))
    await asyncio.wait_for(reader.read(), 5)
    application = guarded._application
    assert application is not None
    await until(lambda: not application._access._streams)
    writer.close()


async def test_a_stream_of_nobody_ends_where_somebody_is_asked_for(guarded: AdminServer) -> None:
    await guarded.apply(config_with("", "127.0.0.1:0"))
    host, _, port = guarded.addresses[0].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /api/v1/forever HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    assert b"begins" in await reader.readuntil(b"begins")
    await guarded.apply(config_with(USERS, "127.0.0.1:0"))
    await asyncio.wait_for(reader.read(), 5)
    application = guarded._application
    assert application is not None
    await until(lambda: not application._access._streams)
    writer.close()



# ------------------------------------------------------------------ pages of others
@pytest.mark.parametrize("fields", [
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://127.0.0.1:3000"}, {"Origin": "null"},
    {"Origin": "http://evil.example"},
])
async def test_a_page_of_another_origin_changes_nothing(fields: dict[str, str], browser: Ask, daemon: Any) -> None:
    await log_in(browser)
    asked = await browser("POST", "/cache/purge", json={"all": True}, headers=fields)
    assert (asked.status, asked.code) == (403, "PXD-241")
    assert daemon.asked == []


async def test_our_own_page_does(browser: Ask, guarded: AdminServer, daemon: Any) -> None:
    await log_in(browser)
    fields = {"Sec-Fetch-Site": "same-origin", "Origin": f"http://{guarded.addresses[1]}"}
    assert (await browser("POST", "/cache/purge", json={"all": True}, headers=fields)).status == 200
    assert len(daemon.asked) == 1


async def test_without_users_nobody_logs_in(server: AdminServer) -> None:
    async with aiohttp.ClientSession(f"http://{server.addresses[1]}") as session:
        ask = sender(session)
        assert (await ask("GET", "/session")).body == {"user": "127.0.0.1", "role": "admin", "asks": False}
        assert (await log_in(ask)).status == 400


async def test_daemons_of_one_host_have_cookies_of_their_own(browser: Ask, guarded: AdminServer) -> None:
    port = guarded.addresses[1].rpartition(":")[2]
    assert (await log_in(browser)).fields["Set-Cookie"].startswith(f"proxyd_{port}=")
