"""Cache directives, as RFC 9111 §5.2 and RFC 9213 say them, and as the world writes them."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.cache.control import read_age, read_cache_control, read_targeted

BIG = 2**31


def answer(*lines: str) -> bytes:
    return "".join(["HTTP/1.1 200 OK\r\n", *(f"{line}\r\n" for line in lines), "\r\n"]).encode("latin-1")


def request(*lines: str) -> bytes:
    return "".join(["GET / HTTP/1.1\r\nHost: h\r\n", *(f"{line}\r\n" for line in lines), "\r\n"]).encode("latin-1")


def said(*values: str) -> dict[str, int | bool] | None:
    return read_cache_control(answer(*(f"Cache-Control: {value}" for value in values)))


@pytest.mark.parametrize(
    ("values", "directives"),
    [
        ([], None),
        ([""], {}),
        ([" , ,"], {}),
        (["max-age=60"], {"max-age": 60}),
        (["MaX-aGe=60, No-StOrE"], {"max-age": 60, "no-store": True}),
        (["max-age=60", "s-maxage=5"], {"max-age": 60, "s-maxage": 5}),
        (["public,private,no-cache , no-transform"], {"public": True, "private": True, "no-cache": True, "no-transform": True}),
        (["must-revalidate, proxy-revalidate, must-understand, immutable"],
         {"must-revalidate": True, "proxy-revalidate": True, "must-understand": True, "immutable": True}),
        (["stale-while-revalidate=7, stale-if-error=8"], {"stale-while-revalidate": 7, "stale-if-error": 8}),
        # Extensions are passed over (§5.2.3), with whatever they hold.
        (["foobar, x=y, max-age=1"], {"max-age": 1}),
        (['x="max-age=60, no-store", max-age=1'], {"max-age": 1}),
        (['max-age=1, x="max-age=60"'], {"max-age": 1}),
        (['x="\\", max-age=60", max-age=1'], {"max-age": 1}),
        (["max-ages=1, xmax-age=2, no-stores"], {}),
        # Arguments may be tokens or quoted (§5.2); qualified forms count as unqualified ones (§5.2.2.4, §5.2.2.7).
        (['max-age="60"'], {"max-age": 60}),
        (['no-cache="set-cookie, x", private="a"'], {"no-cache": True, "private": True}),
        (["no-store=1, public=x"], {"no-store": True, "public": True}),
        (["no-store junk, private ;x"], {"no-store": True, "private": True}),
        # §1.2.2: what is too large is 2^31.
        (["max-age=2147483647"], {"max-age": BIG - 1}),
        (["max-age=2147483648"], {"max-age": BIG}),
        (["max-age=99999999999"], {"max-age": BIG}),
        ([f"max-age={'9' * 400}"], {"max-age": BIG}),
        (["max-age=003600"], {"max-age": 3600}),
        # §4.2.1: what is no number is stale.
        (["max-age"], {"max-age": 0}),
        (["max-age="], {"max-age": 0}),
        (['max-age=""'], {"max-age": 0}),
        (['max-age="'], {"max-age": 0}),
        (["max-age=a1"], {"max-age": 0}),
        (["max-age=1a"], {"max-age": 0}),
        (["max-age=-1"], {"max-age": 0}),
        (["max-age=60.5"], {"max-age": 0}),
        (["max-age='60'"], {"max-age": 0}),
        (["max-age =60"], {"max-age": 0}),
        (["max-age= 60"], {"max-age": 0}),
        (["max-age\t=60, public"], {"max-age": 0, "public": True}),
        (["max-age=1 2"], {"max-age": 0}),
        # §4.2.1: of several, the first.
        (["max-age=1800, max-age=1"], {"max-age": 1800}),
        (["max-age=1", "max-age=1800"], {"max-age": 1}),
        (["max-age=x, max-age=1800"], {"max-age": 0}),
        # A quote that does not end quotes nothing: what comes behind it is not hidden.
        (['x="a, no-store'], {"no-store": True}),
        (['"max-age=1", =, @, \xff, no-store'], {"no-store": True}),
    ],
)
def test_answers(values: list[str], directives: dict[str, int | bool] | None) -> None:
    assert said(*values) == directives


@pytest.mark.parametrize(
    ("lines", "directives"),
    [
        (["Cache-Control: max-age=0"], {"max-age": 0}),
        (["Cache-Control: max-stale"], {"max-stale": True}),
        (["Cache-Control: max-stale=10, min-fresh=5, only-if-cached"], {"max-stale": 10, "min-fresh": 5, "only-if-cached": True}),
        (["Cache-Control: max-stale, max-stale=10"], {"max-stale": True}),
        (["Cache-Control: max-stale=10, max-stale"], {"max-stale": 10}),
        (["Cache-Control: max-stale=x"], {"max-stale": 0}),
        # §5.4
        (["Pragma: no-cache"], {"no-cache": True}),
        (["Pragma: x, No-Cache"], {"no-cache": True}),
        (["Pragma: no-store, max-age=0"], None),
        (["Pragma: no-cache", "Cache-Control: max-age=60"], {"max-age": 60}),
        ([], None),
    ],
)
def test_requests(lines: list[str], directives: dict[str, int | bool] | None) -> None:
    assert read_cache_control(request(*lines), request=True) == directives


def test_pragma_of_an_answer_says_nothing() -> None:
    assert read_cache_control(answer("Pragma: no-cache")) is None


@pytest.mark.parametrize(
    ("values", "directives"),
    [
        (["max-age=60"], {"max-age": 60}),
        (["max-age=60;x=y;z, no-cache"], {"max-age": 60, "no-cache": True}),
        (["  max-age=60  ,\tmust-revalidate "], {"max-age": 60, "must-revalidate": True}),
        (["max-age=60", "private"], {"max-age": 60, "private": True}),
        (["max-age=1, max-age=60"], {"max-age": 60}),                  # RFC 8941 §3.2: the last
        (["no-store, no-store=?0, foo"], {}),
        (["no-store=?1"], {"no-store": True}),
        (['no-cache="a", private=("a" "b")'], {"no-cache": True, "private": True}),
        (["max-age=999999999999999"], {"max-age": BIG}),
        (['x=1.5, y=:aGk=:, z=tok/en:, u=(1 "a";p tok);q=1, v=?0, d=@1659578233, e=%"f%c3%bc", max-age=1'], {"max-age": 1}),
        # Empty or invalid: ignored as a whole (RFC 9213 §2.2).
        ([], None),
        ([""], None),
        (["", ""], None),
        (["max-age=60, &&&&"], None),
        (["max-age=60,"], None),
        ([",max-age=60"], None),
        (["max-age=60,,private"], None),
        (["max-age=60 private"], None),
        (["max-age =60"], None),
        (["max-age= 60"], None),
        (["MaX-aGe=60"], None),
        (["max-age=60", "&"], None),
        (["max-age=1000000000000000"], None),
        (["x=1234567890123.5"], None),
        (["x=1."], None),
        (["x=1.2345"], None),
        (["x=-"], None),
        (['x="a'], None),
        (['x="a', 'b"'], None),
        (['x="\\a"'], None),
        (['x="\xe9"'], None),
        (["x=:a"], None),
        (["x=?2"], None),
        (["x=(1"], None),
        (["x=(1,2)"], None),
        (["x=@1.5"], None),
        (['x=%"%C3"'], None),
        (["x;Y"], None),
        # A value that cannot be the directive's (§2.1).
        (['max-age="60"'], None),
        (["max-age=60.0"], None),
        (["max-age"], None),
        (["max-age=-1"], None),
        (["no-store=1"], None),
        (["private=1"], None),
    ],
)
def test_targeted(values: list[str], directives: dict[str, int | bool] | None) -> None:
    assert read_targeted(answer(*(f"CDN-Cache-Control: {value}" for value in values))) == directives


@pytest.mark.parametrize(
    ("values", "age"),
    [
        ([], -1), (["30"], 30), (["0"], 0), ([""], -1), (["abc"], -1), (["-1"], -1), (["7200.0"], -1), (["7200,0"], 7200),
        (["7200 , 0"], 7200), (["0", "7200"], 0), (["x, 5"], -1), (["99999999999999999999"], BIG), (["1 2"], -1),
    ],
)
def test_age_is_the_first_that_is_said(values: list[str], age: int) -> None:
    """RFC 9111 §5.1."""
    assert read_age(answer(*(f"Age: {value}" for value in values))) == age


def test_not_a_head() -> None:
    with pytest.raises(ValueError, match="not a head"):
        read_cache_control(b"HTTP/1.1 200 OK\r\n")


WORDS = st.sampled_from(
    ["max-age", "s-maxage", "no-store", "private", "x", "=", "1", "60", '"', "\\", ",", " ", ";", "(", ")", "?1", "\t", ":", ".", "-"]
)


@given(st.lists(WORDS, max_size=12).map("".join))
def test_splitting_at_an_unquoted_comma_changes_nothing(text: str) -> None:
    """One list, over however many lines (RFC 9110 §5.3): only quotes could make a difference."""
    if '"' not in text:
        assert said(text) == said(*text.split(","))


@given(st.lists(WORDS, max_size=12).map("".join))
def test_targeted_takes_what_is_plain_as_cache_control_does(text: str) -> None:
    """What is valid in both, without quotes, parameters or repetition, means the same."""
    directives = read_targeted(answer(f"CDN-Cache-Control: {text}"))
    names = [part.partition("=")[0].strip() for part in text.split(",")]
    if directives is not None and not set('"();?') & set(text) and len(set(names)) == len(names):
        assert said(text) == directives
