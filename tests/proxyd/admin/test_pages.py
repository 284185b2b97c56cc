from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from proxyd.admin.server import AdminServer
from proxyd.dashboard.files import all_files


@pytest.fixture
async def session(server: AdminServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://{server.addresses[1]}") as found:
        yield found


@pytest.mark.parametrize("path", ["/", "/ui", "/ui/"])
async def test_the_dashboard_is_at_the_root(path: str, session: aiohttp.ClientSession) -> None:
    async with session.get(path) as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
        assert await answer.read() == all_files()["index.html"].body


async def test_every_file_comes_with_a_policy(session: aiohttp.ClientSession) -> None:
    for name, file in all_files().items():
        async with session.get(f"/ui/{name}") as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (200, file.content_type)
            policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["Content-Security-Policy"].split(";"))
            assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
            assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["form-action"] == "'self'"
            assert (answer.headers["X-Content-Type-Options"], answer.headers["Referrer-Policy"]) == ("nosniff", "no-referrer")


@pytest.mark.parametrize(("tags", "status"), [("{}", 304), ('"x", W/{}', 304), ('"x"', 200), ("", 200)])
async def test_a_browser_that_has_it_is_told_so(tags: str, status: int, session: aiohttp.ClientSession) -> None:
    etag = all_files()["app.js"].etag
    async with session.get("/ui/app.js", headers={"If-None-Match": tags.format(etag)}) as answer:
        assert (answer.status, answer.headers["ETag"]) == (status, etag)
        assert bool(await answer.read()) is (status == 200)
        assert "Content-Security-Policy" in answer.headers


@pytest.mark.parametrize("path", ["/ui/none.js", "/ui/../files.py", "/ui/%2e%2e/files.py", "/ui/pages", "/ui/pages/", "/index.html"])
async def test_nothing_else_is_there(path: str, session: aiohttp.ClientSession) -> None:
    async with session.get(path) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (404, "PXD-242")


async def test_pages_of_others_may_not_have_it(session: aiohttp.ClientSession) -> None:
    async with session.get("/", headers={"Host": "evil.example"}) as answer:
        assert answer.status == 403
