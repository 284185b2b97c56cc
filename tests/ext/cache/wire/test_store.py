"""What may be stored, and what of it: RFC 9111 section 3, 3.1, 3.3, 3.5; RFC 9211."""

from __future__ import annotations

import pytest

from tests.support.cache_rig import Answer, Ask, CacheRig, Row, refused, stored

FRESH = "Cache-Control: max-age=600"
SECRET = ["Authorization: Basic YTpi"]


def of_status(status: int, again: bool, *fields: str) -> Row:
    return Row(Answer(*fields, status=status), Ask(1, status=status), Ask(1 if again else 2, status=status))


def authorized(again: bool, directives: str) -> Row:
    """A request with Authorization, then one without."""
    return Row(Answer(f"Cache-Control: {directives}"), Ask(1, fields=SECRET), Ask(1 if again else 2))


STORED = {
    "3 with max-age": stored(FRESH),
    "3 with public and max-age": stored("Cache-Control: public, max-age=600"),
    "3 a status that is not heuristically cacheable, with explicit freshness": of_status(403, True, FRESH),
    "3 a status of no meaning to us, with explicit freshness": of_status(299, True, FRESH),
    "3 a redirect": of_status(302, True, FRESH, "Location: /there"),
    "3 an error of the server, with explicit freshness": of_status(503, True, FRESH),
    "3 204": Row(Answer(FRESH, status=204), Ask(status=204, text=b"", asked=1), Ask(status=204, text=b"", asked=1)),
    "5.2.2.3 must-understand and a status that we know: no-store does not count": stored(
        "Cache-Control: max-age=600, no-store, must-understand"
    ),
    "3.5 Authorization and public": authorized(True, "max-age=600, public"),
    "3.5 Authorization and s-maxage": authorized(True, "s-maxage=600"),
    "3.5 Authorization and must-revalidate": authorized(True, "max-age=600, must-revalidate"),
    "3.5 what a request with Authorization is answered with may be stored already": Row(Answer(FRESH), Ask(1), Ask(1, fields=SECRET)),
    "3 Cookie of the request does not matter": Row(Answer(FRESH), Ask(1), Ask(1, fields=["Cookie: a=b"])),
    "configured: Set-Cookie is stripped": Row(
        Answer(FRESH, "Set-Cookie: a=b"), Ask(1), Ask(1, lacks=["set-cookie"]), strip_set_cookie=True
    ),
}

NOT_STORED = {
    "5.2.2.5 MUST NOT no-store": refused("Cache-Control: no-store"),
    "5.2.2.5 MUST NOT no-store, whatever else": refused("Cache-Control: max-age=600, no-store", "Expires: @+600"),
    "5.2.2.5 MUST NOT No-StOrE": refused("Cache-Control: No-StOrE, max-age=600"),
    "5.2.2.7 MUST NOT private": refused("Cache-Control: private, max-age=600"),
    "5.2.2.7 private with names of fields, as if without": refused('Cache-Control: private="x-user", max-age=600'),
    "5.2.2.3 MUST NOT must-understand and a status of no meaning to us": of_status(
        599, False, "Cache-Control: max-age=600, must-understand"
    ),
    "5.2.2.3 nor with no-store": of_status(599, False, "Cache-Control: max-age=600, no-store, must-understand"),
    "3.5 MUST NOT Authorization": authorized(False, "max-age=600"),
    "3.5 MUST NOT Authorization, not for the same one either": Row(Answer(FRESH), Ask(1, fields=SECRET), Ask(2, fields=SECRET)),
    "4.1 Vary: *": refused(FRESH, "Vary: *"),
    "Set-Cookie": refused(FRESH, "Set-Cookie: a=b"),
    "3 a method other than GET and HEAD": Row(
        Answer(FRESH), Ask(1, method="OPTIONS"), Ask(2, method="OPTIONS"), Ask(3), Ask(4, method="OPTIONS")
    ),
    "3 POST, even with explicit freshness": Row(Answer(FRESH), Ask(1, method="POST", body=b"x"), Ask(2), Ask(3, method="POST", body=b"x")),
    "5.2.1.5 MUST NOT the answer to a request with no-store": Row(
        Answer(FRESH), Ask(1, fields=["Cache-Control: no-store"]), Ask(2), Ask(2)
    ),
}

FIELDS = {
    "3.1 MUST fields that we do not know": Row(
        Answer(FRESH, "X-One: 1", "Content-Foo: two", 'ETag: "a"', "Content-Location: /foo", "Content-MD5: abc", "Content-Type: text/x"),
        Ask(1),
        Ask(
            1,
            gets=["X-One: 1", "Content-Foo: two", 'ETag: "a"', "Content-Location: /foo", "Content-MD5: abc", "Content-Type: text/x", FRESH],
        ),
    ),
    "3.1 MUST NOT what Connection names": Row(
        Answer(FRESH, "Connection: a, b", "A: 1", "B: 2", "C: 3"), Ask(1, lacks=["a", "b"]), Ask(1, gets=["C: 3"], lacks=["a", "b"])
    ),
    "3.1 MUST NOT what is for one hop": Row(
        Answer(FRESH, "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "Proxy-Authenticate: Basic", "TE: x", "Upgrade: x"),
        Ask(1),
        Ask(1, lacks=["keep-alive", "proxy-connection", "proxy-authenticate", "te", "upgrade"]),
    ),
    "5.2 directives pass through": Row(
        Answer("Cache-Control: max-age=600, foo=bar, stale-if-error=5"),
        Ask(1, gets=["Cache-Control: max-age=600, foo=bar, stale-if-error=5"]),
        Ask(1, gets=["Cache-Control: max-age=600, foo=bar, stale-if-error=5"]),
    ),
    "9213 targeted fields pass through": Row(
        Answer("CDN-Cache-Control: max-age=600"),
        Ask(1, gets=["CDN-Cache-Control: max-age=600"]),
        Ask(1, gets=["CDN-Cache-Control: max-age=600"]),
    ),
    "5.1 one Age, in the place of that which came": Row(Answer(FRESH, "Age: 5", "Date: @-5"), Ask(1), Ask(1, after=3, gets=["Age: 8"])),
    "9110 8.6 Content-Length is that of the body": Row(
        Answer(FRESH, body=b"eleven byte"),
        Ask(text=b"eleven byte", asked=1),
        Ask(text=b"eleven byte", gets=["Content-Length: 11"], asked=1),
    ),
}

KEY = {
    "2 MUST another query is another key": Row(
        Answer(FRESH), Ask(1, path="?a=1"), Ask(2, path="?a=2"), Ask(1, path="?a=1"), Ask(3, path="")
    ),
    "2 the same query is the same key": Row(Answer(FRESH), Ask(1, path="?a=1&b"), Ask(1, path="?a=1&b")),
    "2 MUST another path": Row(Answer(FRESH), Ask(1, path="/x"), Ask(2, path="/y"), Ask(1, path="/x")),
    "2 MUST another host": Row(Answer(FRESH), Ask(1, host="one"), Ask(2, host="two"), Ask(1, host="one")),
    "9110 4.2.3 host in any case, default port or none": Row(Answer(FRESH), Ask(1, host="one"), Ask(1, host="ONE"), Ask(1, host="one:80")),
    "9110 4.2.3 unreserved characters escaped or not": Row(Answer(FRESH), Ask(1, path="/%7Ex"), Ask(1, path="/~x")),
    "9110 4.2.3 dot segments": Row(Answer(FRESH), Ask(1, path="/a/../b"), Ask(1, path="/b")),
    "9110 4.2.3 an escaped slash is none": Row(Answer(FRESH), Ask(1, path="/a%2Fb"), Ask(2, path="/a/b")),
}


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in STORED.items()])
def test_stored(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in NOT_STORED.items()])
def test_not_stored(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in FIELDS.items()])
def test_fields(cache: CacheRig, row: Row) -> None:
    cache.play(row)


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in KEY.items()])
def test_key(cache: CacheRig, row: Row) -> None:
    cache.play(row)


def test_lines_of_a_name_stay(cache: CacheRig) -> None:
    cache.begin({})
    cache.answer = Answer(FRESH, "Link: </a>", "Link: </b>")
    assert cache.ask(Ask()).all("link") == ["</a>", "</b>"]
    assert cache.ask(Ask()).all("link") == ["</a>", "</b>"]
    assert len(cache.origin.requests) == 1


CUT = {
    "Content-Length": b"Content-Length: 10\r\n\r\n01234",
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n",
}


@pytest.mark.parametrize("framing", CUT.values(), ids=CUT)
def test_incomplete_is_not_whole(cache: CacheRig, framing: bytes) -> None:
    """RFC 9111 section 3.3: an answer that broke off is not used as if it were whole."""
    cache.begin({}, scripted=True)
    client = cache.connect(Ask())
    asked, _ = cache.origin.asked()
    asked.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n" + framing)
    cache.rig.settle()
    asked.close()
    cache.rig.settle()
    assert client.was_reset() or client.eof
    second = cache.connect(Ask())
    again, _ = cache.origin.asked()
    again.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 10\r\n\r\n0123456789")
    assert second.response().body == b"0123456789"
    assert cache.ask(Ask()).body == b"0123456789"
    assert len(cache.origin.peers) == 2


@pytest.mark.parametrize(
    "framing", [b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"Content-Length: 5\r\n\r\nabcde"]
)
def test_whatever_framing(cache: CacheRig, framing: bytes) -> None:
    """A stored body has a length, however it came."""
    cache.begin({}, scripted=True)
    client = cache.connect(Ask())
    asked, _ = cache.origin.asked()
    asked.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n" + framing)
    assert client.response().body == b"abcde"
    hit = cache.ask(Ask())
    assert (hit.body, hit.framing, hit.all("content-length"), hit.all("transfer-encoding")) == (b"abcde", "length", ["5"], [])


def test_body_that_ends_with_the_connection(cache: CacheRig) -> None:
    """RFC 9112 section 6.3: such an answer has no end that one could miss; it may be stored, and is passed on whole either way."""
    cache.begin({}, scripted=True)
    client = cache.connect(Ask())
    asked, _ = cache.origin.asked()
    asked.send(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n\r\nabcde")
    cache.rig.settle()
    asked.close()
    assert client.response().body == b"abcde"


def test_interim_answers_are_not_stored(cache: CacheRig) -> None:
    """RFC 9111 section 3: only a final answer. What a 103 said stands neither in the stored answer nor before it."""
    cache.begin({}, scripted=True)
    client = cache.connect(Ask())
    asked, _ = cache.origin.asked()
    asked.send(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 2\r\n\r\nok"
    )
    assert client.response().status == 103
    assert client.response().body == b"ok"
    hit = cache.ask(Ask())
    assert (hit.status, hit.body, hit.all("link")) == (200, b"ok", [])


def status_word(response_fields: list[str]) -> list[str]:
    """The parameters of our member of Cache-Status, which is the last."""
    assert len(response_fields) == 1, response_fields
    member = response_fields[0].split(",")[-1]
    return [part.strip() for part in member.split(";")]


def test_cache_status(cache: CacheRig) -> None:
    """RFC 9211: a hit says `hit` and how long it stays fresh; what was forwarded says why."""
    cache.begin({})
    cache.answer = Answer("Cache-Control: max-age=60", 'ETag: "a"')
    missed = status_word(cache.ask(Ask()).all("cache-status"))
    assert missed[0] == "proxyd"
    assert "fwd=uri-miss" in missed
    assert "stored" in missed
    assert "hit" not in missed
    cache.wait(10)
    hit = status_word(cache.ask(Ask()).all("cache-status"))
    assert hit[0] == "proxyd"
    assert "hit" in hit
    assert "ttl=50" in hit
    assert not [word for word in hit if word.startswith("fwd")]
    cache.wait(60)
    renewed = status_word(cache.ask(Ask()).all("cache-status"))
    assert "fwd=stale" in renewed
    assert "fwd-status=304" in renewed
    posted = status_word(cache.ask(Ask(method="POST", body=b"x")).all("cache-status"))
    assert "fwd=method" in posted


def test_cache_status_is_appended(cache: CacheRig) -> None:
    """RFC 9211 section 2: each cache adds its member behind those that came, nearest to the client last."""
    cache.begin({})
    cache.answer = Answer("Cache-Control: max-age=60", "Cache-Status: far; hit")
    members = ", ".join(cache.ask(Ask()).all("cache-status")).split(", ")
    assert members[0] == "far; hit"
    assert members[-1].startswith("proxyd")
    members = ", ".join(cache.ask(Ask()).all("cache-status")).split(", ")
    assert (members[0], members[-1].startswith("proxyd; hit"), len(members)) == ("far; hit", True, 2)
