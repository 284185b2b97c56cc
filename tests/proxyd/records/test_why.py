"""The story of a request, step by step."""
from __future__ import annotations

from dataclasses import dataclass, field, replace

from proxyd.records.tap import Record
from proxyd.records.why import Step, story
from proxyd.snapshot.explain import Question
from proxyd.state import RouteDecision, UpstreamView
from tests.proxyd.admin.fake_daemon import server_view
from tests.proxyd.records.sample import failed, flow, record
from tests.support.client import get
from tests.support.clock import FakeClock
from tests.support.daemon import port_of, running, whole_config
from tests.support.origin import Origin
from tests.support.wait import until

DECISION = RouteDecision("web", ":80", "/api/v1/pay", "api", "to api", ("api",), (("media", ("host", "path")),))


@dataclass
class Daemon:
    decision: RouteDecision = DECISION
    config_hash: str = "abcdef0123456789"
    asked: list[Question] = field(default_factory=list)

    def explain(self, question: Question) -> tuple[RouteDecision, ...]:
        self.asked.append(question)
        return (self.decision,)

    def upstream(self, name: str) -> UpstreamView | None:
        if name != "api":
            return None
        servers = (server_view("10.0.1.13:8000", state="down", reason="check failed: connection refused"), server_view("10.0.1.14:8000"))
        return UpstreamView("api", "round_robin", servers, 1, "")


def told(found: Record, about: str, daemon: Daemon | None = None) -> list[str]:
    return [step.text for step in story(found, daemon or Daemon(), FakeClock()) if step.about == about]


def test_a_plain_request() -> None:
    daemon = Daemon()
    steps = story(record(query=b"a=1"), daemon, FakeClock())
    assert [step.about for step in steps] == ["client", "route", "route", "route", "try", "answer", "now", "now"]
    assert steps[0] == Step(
        "client", "192.0.2.7:5123 sent GET http://shop.example.com/api/v1/pay?a=1 to listener web (HTTP/1.1)")
    assert [step.text for step in steps[1:4]] == [
        "route api matched", "route media, which comes earlier, did not match: host, path", "it goes to api"]
    assert daemon.asked == [Question("GET", "shop.example.com", "/api/v1/pay", "192.0.2.7", "web", (), "a=1")]
    assert steps[4].text == "try 1: api 10.0.1.13:8000 began to answer after 9 ms, over a connection that was open"
    assert steps[5].text == "200 came from the server, 12.3 ms after the request began; 0 bytes sent, 0 bytes of body received"
    assert steps[6].text == "api 10.0.1.13:8000 is down (check failed: connection refused) for 1.67 min"
    assert steps[7].text == "1 of 2 servers of api are usable"


def test_a_config_that_has_changed_is_not_asked() -> None:
    daemon = Daemon(config_hash="fedcba")
    assert told(record(), "route", daemon)[1].startswith("the config has changed since (abcdef012345 served it)")
    assert daemon.asked == []


def test_conditions_on_what_is_not_kept() -> None:
    asked_again = Daemon(replace(DECISION, route="media"))
    assert told(record(), "route", asked_again)[1].endswith("route media matches: a condition on them decided")
    nothing = Daemon(replace(DECISION, route=None))
    assert "no route matches" in told(record(), "route", nothing)[1]


def test_no_route() -> None:
    daemon = Daemon(replace(DECISION, route=None, action="404 no route"))
    found = failed("no_route", 404, route=None, upstream=None, server=None, attempts=0)
    assert told(found, "route", daemon) == ["no route matched", "route media, which comes earlier, did not match: host, path"]
    assert told(found, "error", daemon) == ["destination_not_found: no route matches this request"]
    assert "proxyd route" in told(found, "advice", daemon)[0]


def test_many_routes_before_it() -> None:
    why_not = tuple((f"r{number}", ("path",)) for number in range(20))
    texts = told(record(), "route", Daemon(replace(DECISION, why_not=why_not)))
    assert texts[1] == "route r12, which comes earlier, did not match: path"
    assert texts[9] == "nor did 12 before them (`proxyd route` shows all)"


def test_policies_cache_and_queue() -> None:
    found = record(policies=b"per-ip:passed,sso:allowed,new:unknown_word", user=b"ann", cache=1, cache_age=7, t_queue_us=2_500, status_by=2)
    assert told(found, "policies") == [
        "policy per-ip let it pass", "policy sso accepted the credential", "policy new unknown_word", "the user is ann"]
    assert told(found, "cache") == ["the cache answered from memory, still fresh, 7 s old"]
    assert told(found, "queue") == ["it waited 2.5 ms for a server with room"]
    assert told(found, "answer")[0].startswith("200 came from the cache")


def test_the_advice_names_the_policy() -> None:
    found = failed("rate_limited", 429, policies=b"per-ip:passed,slow:refused", t_total_us=0)
    assert told(found, "advice")[0].startswith("`proxyd limit show slow KEY` shows")
    assert told(found, "answer")[0].startswith("429 came from proxyd itself, at once; ")


def test_what_could_not_be_understood() -> None:
    found = failed("request_malformed", 400, path=None, host=None, method=None, route=None, upstream=None, server=None)
    assert "a request that was not understood" in told(found, "client")[0]
    assert told(found, "route") == ["it came to no route: the request could not be understood"]


def test_a_flow() -> None:
    found = flow(upstream=b"gone")
    assert told(found, "client") == ["192.0.2.7:5123 began a TLS flow for db.internal at listener sni"]
    assert told(found, "flow") == ["it ended after 2 s: the client closed first; 900 bytes from the client and 34567890 to it"]
    assert told(found, "now") == ["there is no upstream gone any more"]


async def test_of_a_daemon_with_a_dead_server() -> None:
    async with Origin("one") as one:
        routes = "routes: [{name: other, match: /x, respond: 204}, {name: app, to: app, retry: {attempts: 1}}]"
        upstreams = f'upstreams: {{app: {{servers: ["127.0.0.1:1", "{one.address}"], balance: first}}}}'
        text = f'listen: "127.0.0.1:0"\n{routes}\n{upstreams}\n'
        async with running(text) as daemon:
            daemon.history.look()
            await get(port_of(daemon))
            await until(lambda: daemon.flight.all())
            found, = daemon.flight.all()
            steps = story(found, daemon, FakeClock())
            texts = [step.text for step in steps]
            assert "route app matched" in texts
            assert "route other, which comes earlier, did not match: path" in texts
            tries = [step.text for step in steps if step.about == "try"]
            assert tries[0].startswith("try 1: app 127.0.0.1:1: connection refused after ")
            assert tries[1].startswith(f"try 2: app {one.address} began to answer after ")
            await daemon.reload(whole_config(text.replace("/x", "/y")))
            assert any("the config has changed since" in step.text for step in story(found, daemon, FakeClock()))
