from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.gateway.claims import ClaimRules, Refused, attributes_of, check_claims, find_claim, forward_lines, user_of

NOW = 1_000_000.0
RULES = ClaimRules(issuers=frozenset({"i"}), audiences=frozenset({"shop", "desk"}), skew_s=30)
GOOD: dict[str, Any] = {"iss": "i", "aud": "shop", "exp": NOW + 60}


def refusal(rules: ClaimRules = RULES, **changes: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        check_claims(rules, {name: value for name, value in {**GOOD, **changes}.items() if value != "absent"}, NOW)
    return caught.value


def passes(rules: ClaimRules = RULES, **changes: object) -> float | None:
    return check_claims(rules, {**GOOD, **changes}, NOW)


def test_until_when_it_holds() -> None:
    assert passes() == NOW + 90
    assert passes(exp=NOW + 0.5) == NOW + 30.5
    assert check_claims(replace(RULES, require_exp=False), {"iss": "i", "aud": "shop"}, NOW) is None


@pytest.mark.parametrize("audience", ["shop", "desk", ["shop"], ["x", "desk"], ["x", 7, "shop"]])
def test_audiences(audience: object) -> None:
    assert passes(aud=audience)


@pytest.mark.parametrize("audience", ["Shop", "shop ", "", "x", [], ["x"], [["shop"]], {"shop": 1}, 7, None, "absent"])
def test_wrong_audiences(audience: object) -> None:
    assert str(refusal(aud=audience)) == "the token is for somebody else"
    assert passes(replace(RULES, audiences=None), aud=audience)


@pytest.mark.parametrize("issuer", ["I", "i/", "", None, ["i"], {"i": 1}, 7, "absent"])
def test_wrong_issuers(issuer: object) -> None:
    assert str(refusal(iss=issuer)) == "the token is of another issuer"
    assert passes(replace(RULES, issuers=None), iss=issuer)


def test_the_skew_holds_for_every_time() -> None:
    assert passes(exp=NOW - 29.5) == NOW + 0.5
    assert str(refusal(exp=NOW - 30)) == "the token has expired"
    assert passes(nbf=NOW + 30)
    assert str(refusal(nbf=NOW + 31)) == "the token is not valid yet"
    assert refusal(nbf=NOW + 31).ttl == 1
    assert passes(iat=NOW + 30)
    assert str(refusal(iat=NOW + 40)) == "the token is from the future"
    assert str(refusal(replace(RULES, skew_s=0), exp=NOW)) == "the token has expired"


@pytest.mark.parametrize("value", [None, "1000000", True, [NOW], {}, 1e16, -1e16])
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_what_is_no_time(name: str, value: object) -> None:
    changes: dict[str, Any] = {name: value}
    assert str(refusal(**changes)) == f"the claim {name} is not a time"


def test_without_an_end() -> None:
    assert str(refusal(exp="absent")) == "the token never expires"


def test_scope() -> None:
    rules = replace(RULES, scope=("a", "b"))
    for scope in ("a b", "b x a", ["a", "b"], ["b", 1, "a"]):
        assert passes(rules, scope=scope)
        assert passes(rules, scp=scope)
    for wrong in ("a", "ab", "a,b", "A B", "", ["a"], ["a b"], None, 1, {"a": 1, "b": 1}, "absent"):
        refused = refusal(rules, scope=wrong)
        assert (refused.error, refused.status, refused.scope) == ("insufficient_scope", 403, "a b")
    assert refusal(rules, scope="a", scp="a b").status == 403, "`scp` is for tokens without `scope`"


def test_required_claims() -> None:
    rules = replace(RULES, require=(("role", ("clerk", "boss")), ("org.level", ("3", "true"))))
    good = {"role": "boss", "org": {"level": 3}}
    assert passes(rules, **good)
    assert passes(rules, role=["x", "clerk"], org={"level": True})
    wrong: list[dict[str, object]] = [
        {"role": "bos"}, {"role": None}, {"role": {"boss": 1}}, {"role": []}, {"org": {"level": 4}}, {"org": 3}, {"org": [{"level": 3}]},
    ]
    for changes in wrong:
        refused = refusal(rules, **{**good, **changes})
        assert (refused.error, refused.status, refused.scope) == ("insufficient_scope", 403, "")


def test_claims_with_dots() -> None:
    claims = {"a.b": 1, "a": {"b": 2, "c": {"d": 3}}, "https://x.example/role": "boss"}
    assert find_claim(claims, "a.b") == 1, "the claim of that very name goes first"
    assert find_claim(claims, "a.c.d") == 3
    assert find_claim(claims, "https://x.example/role") == "boss"
    assert find_claim(claims, "a.x") is find_claim(claims, "a.c.d.e") is find_claim(claims, "") is None


# ------------------------------------------------------------------ what is told on
TOLD = replace(RULES, forward=(("sub", "X-User"), ("roles", "X-Roles"), ("org.name", "X-Org")), attributes=("tenant", "roles"), user="sub")


def test_lines() -> None:
    claims = {"sub": "ann", "roles": ["a", "b"], "org": {"name": "Späti"}, "tenant": 7}
    assert forward_lines(TOLD, claims) == "X-User: ann\r\nX-Roles: a,b\r\nX-Org: Späti\r\n".encode()
    assert attributes_of(TOLD, claims) == {"tenant": "7", "roles": "a,b"}
    assert user_of(TOLD, claims) == "ann"
    assert forward_lines(TOLD, {"sub": "", "roles": [], "org": None}) == b""
    assert (user_of(TOLD, {}), attributes_of(TOLD, {})) == ("", {})
    assert forward_lines(TOLD, {"sub": True, "roles": 1.5}) == b"X-User: true\r\nX-Roles: 1.5\r\n"


@pytest.mark.parametrize(
    "value",
    [
        "a\r\nX-Admin: 1", "a\nb", "a\0", "\x7f", "a\tb", "\ud800", " ann", "ann ", "ann\N{NO-BREAK SPACE}", {"a": 1}, [{"a": 1}],
        [["a"]], [None], ["a,b"], ["a", " b"], "x" * 4097, ["x" * 2000] * 3,
    ],
)
def test_what_cannot_be_told_on_is_no_token(value: object) -> None:
    """It is refused, not left out: a server could take the absence of a field for something else."""
    for tell in (forward_lines, attributes_of):
        with pytest.raises(Refused, match="the claim roles"):
            tell(TOLD, {"sub": "ann", "roles": value})
    with pytest.raises(Refused, match="the claim sub"):
        user_of(TOLD, {"sub": value})


def test_bounds() -> None:
    with pytest.raises(Refused, match="too long"):
        user_of(TOLD, {"sub": "é" * 129})
    assert user_of(TOLD, {"sub": "é" * 128}) == "é" * 128
    with pytest.raises(Refused, match="too long"):
        forward_lines(TOLD, {"sub": "s" * 4000, "roles": "r" * 4000, "org": {"name": "n" * 400}})


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3))


@given(values)
def test_a_line_is_one_line(value: object) -> None:
    try:
        lines = forward_lines(TOLD, {"sub": value})
    except Refused as refused:
        lines = str(refused).encode() + b"\r\n"
    assert lines == b"" or (lines.endswith(b"\r\n") and not {*lines[:-2]} & {*range(0x20), 0x7F})
