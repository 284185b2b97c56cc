"""The kit for users' tests, used as they use it: on the filter that is shipped as an example, and on some that fail."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest

from proxyd.filters import Request, ResponseHead
from proxyd.filters.source import SourceError
from proxyd.filters.testing import Filter, FilterTimeout, load_filter, run
from tests.support.filters import write_filter

TENANT = Path(__file__).parents[3] / "config" / "filters" / "tenant.py"
PLUGIN = """
from proxyd.filters import Request

def test_its_own_filter(proxyd_filter):
    own = proxyd_filter("own.py")
    assert own.run(Request(host="a.example.com")).request.headers["x-plan"] == "gold"
    assert own.module.beside_it.PLAN == "gold"
    assert proxyd_filter("own.py").module is not own.module

async def test_in_a_coroutine(proxyd_filter):
    assert (await proxyd_filter("own.py", timeout=2.0).arun(Request())).passed
"""


@pytest.fixture
def tenant() -> Filter:
    return load_filter(TENANT)


def test_what_the_server_is_sent(tenant: Filter) -> None:
    outcome = run(tenant, Request("GET", "/a", "x=1", host="acme.example.com", headers={"X-Plan": "forged", "Accept": "*/*"}))
    assert outcome.passed
    assert outcome.response is None
    assert outcome.request.headers.get_all("x-plan") == ("gold",)
    assert (outcome.request.path, outcome.request.query, outcome.request.headers["accept"]) == ("/a", "x=1", "*/*")


def test_what_the_filter_answers(tenant: Filter) -> None:
    outcome = tenant.run(Request(host="nobody.example.com", id="r-1"))
    assert not outcome.passed
    assert outcome.response is not None
    assert outcome.response.status == 404
    assert outcome.result is outcome.response


async def test_what_the_client_is_sent(tenant: Filter) -> None:
    outcome = await tenant.arun(Request(), ResponseHead(200, {"X-Internal-Node": "n7", "Content-Type": "text/html"}))
    assert isinstance(outcome.response, ResponseHead)
    assert list(outcome.response.headers) == ["content-type"]
    untouched = ResponseHead(200, {"Content-Type": "text/html"})
    assert (await tenant.arun(Request(), untouched)).response is untouched


def test_path_query_and_status(tmp_path: Path) -> None:
    changing = load_filter(write_filter(tmp_path, """
        def on_request(request): return Changes(path="/b", query="", add=[("X-A", "2")])
        def on_response(request, response): return Changes(status=404)
    """))
    request = changing.run(Request("GET", "/a", "x=1", headers={"X-A": "1"})).request
    assert (request.path, request.query, request.headers["x-a"]) == ("/b", "", "1, 2")
    response = changing.run(Request(), ResponseHead(200)).response
    assert response is not None
    assert response.status == 404


def test_what_proxyd_would_not_take_is_raised(tmp_path: Path) -> None:
    wrong = load_filter(write_filter(tmp_path, """
        import time
        async def on_request(request):
            if request.path == "/slow": await asyncio.sleep(10)
            if request.path == "/blocks": return time.sleep(0.02)
            return 7 if request.path == "/wrong" else Changes(set={"Host": "b"})
    """), timeout=0.01)
    with pytest.raises(TypeError, match="returned int"):
        wrong.run(Request(path="/wrong"))
    with pytest.raises(ValueError, match="Host"):
        wrong.run(Request())
    with pytest.raises(FilterTimeout):
        wrong.run(Request(path="/slow"))
    with pytest.raises(FilterTimeout, match="kept its worker"):
        wrong.run(Request(path="/blocks"))
    with pytest.raises(LookupError, match="on_response"):
        wrong.run(Request(), ResponseHead())
    with pytest.raises(SourceError):
        load_filter(tmp_path / "none.py")


def test_the_fixture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a run of pytest inside this one: a folder as a user has it."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["proxyd.filters.testing"]\n')
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    (tmp_path / "beside_it.py").write_text("PLAN = 'gold'\n")
    write_filter(tmp_path, "import beside_it\ndef on_request(request): return Changes(set={'X-Plan': beside_it.PLAN})\n")
    (tmp_path / "test_own.py").write_text(PLUGIN)
    paths = list(sys.path)
    monkeypatch.chdir(tmp_path)
    assert pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:timeout", "--import-mode=importlib", "."]) == 0
    assert "beside_it" not in sys.modules
    assert sys.path == paths
