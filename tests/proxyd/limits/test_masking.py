from __future__ import annotations

import pytest

from proxyd.limits.masking import mark, shown_key, shown_texts
from proxyd.limits.views import Facts, limit_views
from proxyd.state import LimitEntries
from proxyd_ext.limit.rate import RateLimit, note
from proxyd_ext.snapshot.spec import LimitKeyPart


@pytest.mark.parametrize("part", [
    "cookie:lang", "header:authorization", "header:X-API-Key", "header:x-auth-token", "query:access_token", "query:sig_secret",
    "header:cookie", "header:x-session-id", "query:password",
])
def test_what_may_be_a_credential_is_a_mark(part: str) -> None:
    shown = shown_key([part], "Bearer abcdef|ghi")
    assert shown == mark("Bearer abcdef|ghi")
    assert "abcdef" not in shown
    assert shown_key([part], "Bearer abcdef|ghi") == shown, "the same key has the same mark"
    assert shown_key([part], "Bearer abcdef|ghj") != shown
    assert shown_key([part], "") == ""


@pytest.mark.parametrize("part", ["client.ip", "host", "path", "user", "jwt.sub", "header:x-tenant", "query:page", "route"])
def test_other_parts_are_shown_as_they_are(part: str) -> None:
    assert shown_key([part], "a|b") == "a|b"


def test_of_several_parts_those_before_the_credential_are_shown() -> None:
    parts = ["client.ip", "header:x-tenant", "cookie:sid", "path"]
    assert shown_key(parts, "192.0.2.1|shop|s3cret|/x") == f"192.0.2.1|shop|{mark('s3cret|/x')}"
    assert "s3cret" not in shown_key(parts, "192.0.2.1|sh|op|s3cret|/x"), "a value with | in it moves nothing to the left"
    assert shown_key(parts, "192.0.2.1|") == "192.0.2.1|", "cut off before it"


def test_values_that_stand_apart() -> None:
    assert shown_texts(["client.ip", "cookie:sid"], ["::1", "s3cret"]) == ("::1", mark("s3cret"))


def test_views_show_no_credentials() -> None:
    limit = RateLimit("p", requests=1, per_us=1_000_000, burst=0)
    note(limit, 1, b"192.0.2.1|s3cret", True)
    entries = LimitEntries(rates={"p": limit})
    [view] = limit_views(Facts({}, entries, {"p": (LimitKeyPart("client.ip"), LimitKeyPart("header", "x-api-key"))}, None))
    assert [entry.key for entry in view.top] == [f"192.0.2.1|{mark('s3cret')}"]
