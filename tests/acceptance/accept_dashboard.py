"""The dashboard in a real browser, at the width of a desk, a tablet and a phone, light and dark: nothing on the console, nothing from
elsewhere, nothing to scroll sideways; roles, orders with their dialogs, figures that are those of the daemon. Screenshots stay in its
folder."""
from __future__ import annotations

import http.client
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Request, expect, sync_playwright

from proxyd.admin.address import TcpAddress
from proxyd.admin.client import Client
from tests.acceptance.stage import OriginProcess, Proxyd, ending, free_port, needed, until

VIOLATIONS = "window.violations = []; addEventListener('securitypolicyviolation', (event) => violations.push(event.violatedDirective))"
HIDDEN_BESIDE = """[...document.querySelectorAll(".table-frame")].filter((frame) => frame.scrollWidth > frame.clientWidth)
    .map((frame) => frame.firstChild.getAttribute("aria-label"))"""
GROUNDS = {"light": "rgb(246, 247, 249)", "dark": "rgb(14, 17, 22)"}
CHROMIUM = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
]
PAGES = ("", "routes", "upstreams", "cache", "limits", "live", "config")
PASSWORDS = {"val": "look and see", "ops": "drain the swamp", "ada": "root of all"}
REQUESTS = 120


@dataclass
class World:
    proxyd: Proxyd
    port: int
    admin: int

    def get(self, path: str, **fields: str) -> int:
        """One request of a client of proxyd's; its status."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        client.request("GET", path, headers={"Host": "shop.example"} | fields)
        status = client.getresponse().status
        client.close()
        return status

    def api(self, path: str, user: str = "val") -> Any:
        return Client(TcpAddress("127.0.0.1", self.admin, user, PASSWORDS[user])).get(path)


class Daemon(Proxyd):
    """Its admin API listens where the config says, by TCP, too."""

    def _command(self, verb: str) -> list[str]:
        command = super()._command(verb)
        return [part for part in command if part not in {"--admin", self.admin}] if verb == "run" else command


def config(folder: Path, port: int, admin: int, one: str, two: str, weight: int = 1) -> str:
    users = ", ".join(
        f"{name}: {{role: {role}, password: '${{env:PASSWORD_{name.upper()}}}'}}"
        for name, role in (("val", "viewer"), ("ops", "operator"), ("ada", "admin"))
    )
    return f"""
listen: 127.0.0.1:{port}
upstreams:
  shop:
    servers: [{one}, {{address: {two}, weight: {weight}}}]
    health: {{active: {{path: /healthz, interval: 500ms, timeout: 500ms, rise: 1}}}}
  gone: {{servers: [127.0.0.1:1], health: none}}
policies:
  per-user: {{rate_limit: {{rate: 1000/s, burst: 1000, key: "header:x-user"}}}}
routes:
  - {{name: static, match: /static/*, to: shop, cache: {{ttl: {{override: 10m}}, key: [host, path]}}}}
  - {{name: gone, match: /gone/*, to: gone}}
  - {{name: api, match: /api/*, to: shop, use: [per-user]}}
  - {{name: moved, match: /a/path/that/was/long/*, redirect: {{to: "https://www.shop.example/where/it/is/now{{path}}", status: 308}}}}
  - {{name: all, to: shop}}
admin: {{bind: ['unix:{folder}/admin.sock', '127.0.0.1:{admin}'], users: {{{users}}}}}
log: {{access: none}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("dashboard")


@pytest.fixture(scope="module")
def texts(folder: Path) -> dict[str, str]:
    """The config, and one that differs in a weight."""
    return {}


@pytest.fixture(scope="module")
def world(folder: Path, texts: dict[str, str]) -> Iterator[World]:
    os.environ.update({f"PASSWORD_{name.upper()}": password for name, password in PASSWORDS.items()})
    port, admin = free_port(), free_port()
    one, two = OriginProcess(folder, "one"), OriginProcess(folder, "two")
    with ending(one, two):
        texts["first"], texts["second"] = (config(folder, port, admin, one.address, two.address, weight) for weight in (1, 3))
        with ending(proxyd := Daemon(folder, texts["first"])):
            world = World(proxyd, port, admin)
            for number in range(REQUESTS):
                path = ("/api/cart", "/static/logo.png", "/", "/gone/away" if number % 20 == 3 else "/account")[number % 4]
                world.get(path, **{"X-User": ("ann", "bob")[number % 2]})
            yield world


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=needed("chromium"), args=CHROMIUM)
        yield started
        started.close()


@dataclass
class Seen:
    """What a page must not do. `refused`: statuses that a test provokes, which the browser writes on its console."""

    console: list[str] = field(default_factory=list)
    refused: set[int] = field(default_factory=set)
    elsewhere: list[str] = field(default_factory=list)

    def watch(self, page: Page, origin: str) -> None:
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.console.append(str(error)))
        page.on("request", lambda request: self._on_request(request, origin))

    def _on_console(self, message: ConsoleMessage) -> None:
        status = re.search(r"responded with a status of (\d+)", message.text)
        if message.type in {"error", "warning"} and not (status and int(status[1]) in self.refused):
            self.console.append(message.text)

    def _on_request(self, request: Request, origin: str) -> None:
        if not request.url.startswith((origin, "data:")):
            self.elsewhere.append(request.url)


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, world: World) -> Iterator[Open]:
    """`open_page("ops", "upstreams")`: a new browser, logged in; at its end nothing has gone wrong unseen."""
    contexts: list[BrowserContext] = []
    seen = Seen()
    origin = f"http://127.0.0.1:{world.admin}"

    def build(user: str = "", name: str = "", width: int = 1280, theme: Any = "light", refused: int = 0, **words: Any) -> Page:
        seen.refused.add(refused)
        context = browser.new_context(viewport={"width": width, "height": 860}, color_scheme=theme, **words)
        contexts.append(context)
        page = context.new_page()
        page.add_init_script(VIOLATIONS)
        seen.watch(page, origin)
        page.goto(f"{origin}/#/{name}")
        if user:
            log_in(page, user)
        return page

    yield build
    for context in contexts:
        for page in context.pages:
            assert page.evaluate("window.violations") == []
        context.close()
    assert (seen.console, seen.elsewhere) == ([], [])


def log_in(page: Page, user: str) -> None:
    page.get_by_label("User").fill(user)
    page.get_by_label("Password").fill(PASSWORDS[user])
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#frame")).to_be_visible()
    expect(page.locator("h1:focus")).to_have_count(1)


def shoot(page: Page, path: Path) -> None:
    """A picture of a page that has come to rest."""
    page.evaluate("Promise.all(document.getAnimations().map((animation) => animation.finished))")
    page.screenshot(path=path)


def server(page: Page, label: str) -> Locator:
    return page.get_by_label("Servers of shop").get_by_role("row").filter(has_text=label)


def first_label(world: World) -> str:
    upstreams = {entry["name"]: entry for entry in world.api("/upstreams")}
    return str(upstreams["shop"]["servers"][0]["label"])


# ------------------------------------------------------------------ how it looks
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 900, 400])
def test_every_page_at_every_size(width: int, theme: str, open_page: Open, folder: Path) -> None:
    page = open_page("ada", width=width, theme=theme)
    for name in PAGES:
        page.evaluate("(name) => { location.hash = `#/${name}`; }", name)
        expect(page.locator("main h1")).to_have_count(1)
        expect(page.locator("main .note.bad")).to_have_count(0)
        page.wait_for_load_state("networkidle") if name not in {"", "live"} else page.wait_for_timeout(1500)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.evaluate(HIDDEN_BESIDE) == [], f"what the frames of tables have no room for, on {name}"
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == GROUNDS[theme]
        page.screenshot(path=folder / f"{name or 'overview'}-{width}-{theme}.png", full_page=True)
    print(f"\nscreenshots in {folder}")


def test_a_theme_that_is_chosen_stays(open_page: Open) -> None:
    page = open_page("val", theme="light")
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == GROUNDS["dark"]
    page.reload()
    expect(page.locator("#frame")).to_be_visible()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_nothing_moves_for_those_who_do_not_want_it(open_page: Open) -> None:
    page = open_page("ops", "upstreams", reduced_motion="reduce")
    page.get_by_role("button", name="Drain shop/").first.click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0


# ------------------------------------------------------------------ who may what
def test_logging_in_and_out(open_page: Open, world: World, folder: Path) -> None:
    page = open_page(refused=401)
    expect(page).to_have_title("Log in · proxyd")
    shoot(page, folder / "login.png")
    expect(page.get_by_label("User")).to_be_focused()
    with page.expect_response(re.compile("/session")):
        page.get_by_label("User").fill("ops")
        page.get_by_label("Password").fill("not this one")
        page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("The user or the password is wrong")
    log_in(page, "ops")
    [cookie] = page.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == (f"proxyd_{world.admin}", True, "Strict")
    assert page.evaluate("document.cookie") == ""
    expect(page.locator("#account")).to_contain_text("role operator")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Password")).to_be_visible()
    assert page.context.cookies() == []


def test_what_a_role_may_not_is_said_and_refused(open_page: Open, world: World) -> None:
    page = open_page("val", "upstreams", refused=403)
    drain = page.get_by_role("button", name="Drain shop/").first
    expect(drain).to_be_disabled()
    expect(drain).to_have_attribute("title", "this takes the role operator, and val is viewer")
    expect(page.locator("main")).to_contain_text("val is viewer")
    status = page.evaluate("""async () => (await fetch('/api/v1/cache/purge', {
        method: 'POST', headers: {'Content-Type': 'application/json'}, body: '{"all": true}'})).status""")
    assert status == 403
    page = open_page("ops", "config")
    expect(page.get_by_role("button", name="Reload…").first).to_be_disabled()
    page = open_page("ada", "config")
    expect(page.get_by_role("button", name="Reload…").first).to_be_enabled()


def test_the_command_line_has_a_user(world: World) -> None:
    address = f"--admin=http://val@127.0.0.1:{world.admin}"
    os.environ["PROXYD_ADMIN_PASSWORD"] = PASSWORDS["val"]
    try:
        done = world.proxyd.run("status", address, "--json")
        assert done.returncode == 0, done.stderr
        done = world.proxyd.run("stop", address)
        assert (done.returncode, "takes the role admin" in done.stderr) == (8, True)
    finally:
        del os.environ["PROXYD_ADMIN_PASSWORD"]
    done = world.proxyd.run("status", address)
    assert done.returncode == 8
    assert "$PROXYD_ADMIN_PASSWORD" in done.stderr


# ------------------------------------------------------------------ orders
def test_drain_and_ready(open_page: Open, world: World, folder: Path) -> None:
    label = first_label(world)
    page = open_page("ops", "upstreams")
    page.get_by_role("button", name=f"Drain shop/{label}").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("It gets no new requests")
    shoot(page, folder / "drain.png")
    dialog.get_by_role("button", name="Drain").click()
    expect(dialog).to_have_count(0)
    expect(page.locator("#toasts")).to_contain_text(f"shop/{label} drains.")
    expect(server(page, label)).to_contain_text("drain")
    expect(page.locator("main")).to_contain_text("drained by ops")
    states = {entry["label"]: entry["state"] for entry in world.api("/upstreams/shop")["servers"]}
    assert states[label] == "drain"
    page.get_by_role("button", name=f"Ready shop/{label}").click()
    page.get_by_role("dialog").get_by_role("button", name="Ready").click()
    expect(server(page, label)).to_contain_text("up")
    until(lambda: world.api("/upstreams/shop")["usable"] == 2, "both servers are usable again")


def test_the_last_server_needs_to_be_forced(open_page: Open, world: World) -> None:
    page = open_page("ops", "upstreams", refused=409)
    page.get_by_role("button", name="Drain gone/127.0.0.1:1").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Drain").click()
    expect(dialog.get_by_role("alert")).to_contain_text("PXD-222")
    dialog.get_by_label("Do it although").check()
    dialog.get_by_role("button", name="Drain").click()
    expect(dialog).to_have_count(0)
    page.get_by_role("button", name="Ready gone/127.0.0.1:1").click()
    page.get_by_role("dialog").get_by_role("button", name="Ready").click()
    until(lambda: world.api("/upstreams/gone")["servers"][0]["state"] == "up", "it is ready again")


def test_purge(open_page: Open, world: World) -> None:
    assert world.get("/static/purged.css") == 200
    page = open_page("ops", "cache")
    page.get_by_role("combobox", name="Purge").select_option("prefix")
    page.get_by_label("Which").fill("shop.example/static/purged")
    page.get_by_role("button", name="Purge…").click()
    page.get_by_role("dialog").get_by_role("button", name="Purge").click()
    expect(page.locator("#toasts")).to_contain_text("1 object purged.")


def test_reset_of_a_limit(open_page: Open) -> None:
    page = open_page("ops", "limits")
    expect(page.get_by_label("Limit per-user")).to_contain_text("passed")
    page.get_by_role("button", name="Reset…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("header:x-user").fill("ann")
    dialog.get_by_role("button", name="Reset").click()
    expect(page.locator("#toasts")).to_contain_text("of per-user forgotten")


def test_a_reload_is_tried_first(open_page: Open, world: World, texts: dict[str, str], folder: Path) -> None:
    generation = world.api("/status")["generation"]
    page = open_page("ada", "config")
    expect(page.locator("main")).to_contain_text("The file says what serves.")
    world.proxyd.config.write_text(texts["second"])
    page.reload()
    expect(page.get_by_label("File and running config")).to_contain_text("weight: 1 -> 3")
    page.get_by_role("button", name="Reload…").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("weight: 1 -> 3")
    shoot(page, folder / "reload.png")
    dialog.get_by_role("button", name="Cancel").click()
    assert world.api("/status")["generation"] == generation, "a dry run changes nothing"
    page.get_by_role("button", name="Reload…").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Reload").click()
    expect(page.get_by_label("File and running config")).to_contain_text("The file says what serves.")
    assert world.api("/status")["generation"] == generation + 1
    world.proxyd.config.write_text("listen: nowhere\n")
    page.get_by_role("button", name="Check the file").click()
    expect(page.get_by_role("dialog")).to_contain_text("PXD-035")
    page.keyboard.press("Escape")
    world.proxyd.config.write_text(texts["second"])


def test_a_config_that_served_before(open_page: Open, world: World, texts: dict[str, str], folder: Path) -> None:
    page = open_page("ada", "config")
    page.get_by_role("button", name="Compare 1 with what serves").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".code.diff .added")).to_have_count(1)
    expect(dialog.locator(".code.diff .added")).to_contain_text("weight: 3")
    shoot(page, folder / "compare.png")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Roll back to 1").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    expect(page.locator("main")).to_contain_text("What serves is not what the file says")
    assert [entry["weight"] for entry in world.api("/upstreams/shop")["servers"]] == [1, 1]
    assert world.proxyd.reload(texts["first"]).returncode == 0


# ------------------------------------------------------------------ figures
def test_figures_are_those_of_the_daemon(open_page: Open, world: World) -> None:
    page = open_page("val")
    figure = page.locator(".figure", has_text="Requests/s").locator("small")
    before = world.api("/stats")["total"]["requests"]
    for _ in range(30):
        world.get("/api/cart")
    until(lambda: world.api("/stats")["total"]["requests"] == before + 30, "the daemon has counted them")
    expect(figure).to_have_text(f"{before + 30:,} in all")
    total = world.proxyd.total("proxyd_http_requests_total")
    assert total == before + 30, "/metrics says the same"
    expect(page.get_by_label("What is wrong now")).to_contain_text("Everything is well")


def test_live_requests_and_why(open_page: Open, world: World, folder: Path) -> None:
    page = open_page("val", "live", refused=400)
    expect(page.get_by_text("Waiting for requests…")).to_be_visible()
    expect(page.locator("#offline")).to_be_empty()

    def came() -> bool:
        world.get("/gone/away?x=<b>1</b>")
        return bool(page.locator(".request").count())

    until(came, "a request is shown")
    row = page.locator(".request").first
    expect(row).to_contain_text("/gone/away")
    expect(row).to_contain_text("<b>1</b>")
    row.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".steps li").first).to_contain_text("127.0.0.1")
    shoot(page, folder / "why.png")
    page.keyboard.press("Escape")
    page.get_by_label("Status").select_option("2xx")
    page.get_by_role("button", name="Clear").click()
    world.get("/gone/away")
    until(lambda: (world.get("/account"), page.locator(".request").count())[1] > 0, "a 200 is shown")
    assert page.locator(".request", has_text="/gone/").count() == 0
    page.get_by_label("Slower than").fill("soon")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_role("alert")).to_contain_text("soon")


# ------------------------------------------------------------------ without a mouse
def test_the_keyboard_reaches_everything(open_page: Open) -> None:
    page = open_page("ops", "routes")
    page.reload()
    expect(page.locator("#frame")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    assert page.evaluate("location.hash") == "#/routes"
    sort = page.get_by_role("button", name="Requests")
    sort.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("columnheader", name="Requests")).to_have_attribute("aria-sort", "descending")
    page.keyboard.press("Space")
    expect(page.get_by_role("columnheader", name="Requests")).to_have_attribute("aria-sort", "ascending")
    page.get_by_label("Filter routes").fill("stat")
    expect(page.get_by_label("Routes", exact=True).locator("tbody tr")).to_have_count(1)


def test_a_dialog_keeps_the_focus_and_gives_it_back(open_page: Open) -> None:
    page = open_page("ops", "upstreams")
    weight = page.get_by_role("button", name="Weight of shop/").first
    weight.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog").get_by_label("Weight, 1 to 65535")).to_be_focused()
    for _ in range(8):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement === document.body || document.activeElement.closest('dialog') !== null")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(weight).to_be_focused()


def test_charts_speak(open_page: Open) -> None:
    page = open_page("val")
    chart = page.get_by_role("img", name=re.compile("^Response time"))
    expect(chart).to_have_attribute("aria-label", re.compile("p50 .*, p95 .*, p99 "))
    chart.focus()
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_label("Response time", exact=True).locator("[aria-live]")).to_contain_text("p95")


def test_the_menu_of_a_phone(open_page: Open) -> None:
    page = open_page("val", width=400)
    menu = page.get_by_role("button", name="Menu")
    expect(page.get_by_role("link", name="Cache")).to_be_hidden()
    menu.click()
    expect(menu).to_have_attribute("aria-expanded", "true")
    page.keyboard.press("Escape")
    expect(page.get_by_role("link", name="Cache")).to_be_hidden()
    menu.click()
    page.get_by_role("link", name="Cache").click()
    expect(page.get_by_role("heading", name="Cache", level=1)).to_be_visible()
    expect(page.get_by_role("link", name="Cache")).to_be_hidden()


# ------------------------------------------------------------------ when things end
def test_a_session_that_ended_asks_again(open_page: Open) -> None:
    page = open_page("val", "upstreams", refused=401)
    page.context.clear_cookies()
    expect(page.get_by_label("Password")).to_be_visible()
    log_in(page, "val")
    expect(page.get_by_role("heading", name="Upstreams")).to_be_visible()


def test_the_description_of_the_api_is_valid(world: World) -> None:
    from openapi_spec_validator import validate

    document = world.api("/openapi.json")
    validate(document)
    assert len(json.dumps(document)) > 10_000
