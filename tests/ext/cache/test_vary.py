"""Vary: canonical names, and what requests say in them."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd_ext.cache.vary import read_content_encoding, read_encodings, read_vary, variant_text

STAR, TOO_MUCH = -1, -2


def answer(*lines: str) -> bytes:
    return "".join(["HTTP/1.1 200 OK\r\n", *(f"{line}\r\n" for line in lines), "\r\n"]).encode("latin-1")


def request(*lines: str) -> bytes:
    return "".join(["GET / HTTP/1.1\r\nHost: h\r\n", *(f"{line}\r\n" for line in lines), "\r\n"]).encode("latin-1")


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([], b""),
        ([""], b""),
        ([" , "], b""),
        (["Accept-Encoding"], b"accept-encoding"),
        (["b, A,c"], b"a,b,c"),
        (["b", "a , B", "A"], b"a,b"),
        (["ab, a, abc"], b"a,ab,abc"),
        ([",".join(f"n{i:02}" for i in range(15, -1, -1))], ",".join(f"n{i:02}" for i in range(16)).encode()),
        # RFC 9110 §12.5.5: "*" anywhere.
        (["*"], STAR),
        (["*, *"], STAR),
        (["", "*"], STAR),
        ([", *"], STAR),
        (["foo, *"], STAR),
        (["*", "foo"], STAR),
        (["a b", "*"], STAR),
        # Another for each request.
        (["X-Forwarded-For"], STAR),
        (["accept, forwarded"], STAR),
        (["x-real-ip"], STAR),
        (["X-Request-Id"], STAR),
        # What we cannot tell apart.
        (["a b"], TOO_MUCH),
        (['"a"'], TOO_MUCH),
        (["a;b"], TOO_MUCH),
        ([",".join(f"n{i}" for i in range(17))], TOO_MUCH),
        (["n" * 513], TOO_MUCH),
        (["n" * 512], b"n" * 512),
    ],
)
def test_names(values: list[str], names: bytes | int) -> None:
    assert read_vary(answer(*(f"Vary: {value}" for value in values))) == names


@pytest.mark.parametrize("cap", range(6))
def test_names_that_do_not_fit(cap: int) -> None:
    assert read_vary(answer("Vary: bb, aa"), cap) == (TOO_MUCH if cap < 5 else b"aa,bb")


@pytest.mark.parametrize(
    ("names", "lines", "text"),
    [
        ("", ["A: 1"], b""),
        ("a", ["B: 1"], b"-"),
        ("a", ["A:"], b"="),
        ("a", ["A: -"], b"=-"),
        ("a,b", ["b: 2", "A: 1"], b"=1\n=2"),
        ("a,b", ["b: 2"], b"-\n=2"),
        ("a", ["A: 1", "a: 2"], b"=1,2"),
        ("a", ["A: 1,2"], b"=1,2"),
        ("a", ["A:  1 ,\t 2  "], b"=1,2"),
        ("a", ["A: x   y\tz"], b"=x y z"),
        ("a", ["A: Case"], b"=Case"),
        ("a", ["AA: 1", "A-B: 2"], b"-"),
        # Blanks in quotes may mean something.
        ("a", ['A: "x ,  y" ,  z'], b'="x ,  y",z'),
        ("a", ['A: "x \\"  ,  y", z'], b'="x \\"  ,  y",z'),
        ("a", ['A: "x ,  y'], b'="x ,  y'),
        ("a", ['A: "x\\'], b'="x\\'),
        # What the client's connection owns does not reach the server.
        ("a", ["A: 1", "Connection: a"], b"-"),
        ("accept-encoding", ["Accept-Encoding: gzip", "Connection: accept-encoding"], b"-"),
        ("host", [], b"=h"),
        ("accept-language", ["Accept-Language: de-AT , EN;q=0.5"], b"=de-at,en;q=0.5"),
        ("accept-encoding,accept-language", ["Accept-Language: de", "Accept-Encoding: gzip, br"], b"=br,gzip\n=de"),
    ],
)
def test_text(names: str, lines: list[str], text: bytes) -> None:
    head = request(*lines)
    assert variant_text(names.encode(), head) == text
    for cap in range(len(text)):
        assert variant_text(names.encode(), head, cap) == TOO_MUCH
    assert variant_text(names.encode(), head, len(text)) == text


@pytest.mark.parametrize(
    ("values", "encodings"),
    [
        ([], None),
        ([""], b""),
        (["gzip, deflate, br"], b"br,gzip"),
        (["br;q=0.9,gzip"], b"br,gzip"),
        (["gzip", "zstd"], b"gzip,zstd"),
        (["gzip, deflate, br, zstd"], b"br,gzip,zstd"),
        (["GZIP , Br ;Q=1"], b"br,gzip"),
        (["x-gzip"], b"gzip"),
        (["deflate, compress, identity"], b""),
        (["*"], b"br,gzip,zstd"),
        (["gzip;q=0, *"], b"br,zstd"),
        (["*;q=0, gzip"], b"gzip"),
        (["gzip;q=0"], b""),
        (["gzip;q=0.000 , br;q=0.001"], b"br"),
        (["gzip; q=0.0;x=y, br;x=y;q=0"], b""),
        (["gzip;q=x"], b""),
        (["gzip;x=q=0"], b"gzip"),
        (["gzip;q"], b"gzip"),
        (["gzipp, brr, /, ;;"], b""),
    ],
)
def test_encodings(values: list[str], encodings: bytes | None) -> None:
    """RFC 9110 §12.5.3."""
    head = request(*(f"Accept-Encoding: {value}" for value in values))
    assert read_encodings(head) == encodings
    assert variant_text(b"accept-encoding", head) == (b"-" if encodings is None else b"=" + encodings)


@given(st.lists(st.sampled_from(["br", "gzip", "zstd", "deflate", "identity"]), unique=True), st.data())
def test_order_and_lines_of_codings_do_not_count(codings: list[str], data: st.DataObject) -> None:
    lines = data.draw(st.lists(st.permutations(codings).map(", ".join), min_size=1, max_size=3))
    head = request(*(f"Accept-Encoding: {line}" for line in lines))
    assert read_encodings(head) == ",".join(name for name in ("br", "gzip", "zstd") if name in codings).encode()


@pytest.mark.parametrize(
    ("lines", "bit"),
    [
        ([], 0), (["Content-Encoding: identity"], 0), (["Content-Encoding:"], 0), (["Content-Encoding: br"], 1),
        (["Content-Encoding: GZip"], 2),
        (["Content-Encoding: zstd"], 4), (["Content-Encoding: deflate"], -1), (["Content-Encoding: gzip, br"], -1),
        (["Content-Encoding: gzip", "Content-Encoding: gzip"], -1), (["Content-Encoding: identity , gzip"], 2),
    ],
)
def test_coding_of_an_answer(lines: list[str], bit: int) -> None:
    assert read_content_encoding(answer(*lines)) == bit


PIECES = st.lists(st.sampled_from(["a", "b", ",", " ", "\t", '"', "\\", "=", "-"]), max_size=8).map("".join)


@given(PIECES, PIECES)
def test_equal_texts_differ_in_blanks_only(one: str, other: str) -> None:
    texts = [variant_text(b"x", request(f"X: {value}")) for value in (one, other)]
    if texts[0] == texts[1]:
        assert one.translate({32: "", 9: ""}) == other.translate({32: "", 9: ""})


@given(PIECES)
def test_blanks_around_commas_do_not_count(value: str) -> None:
    if '"' not in value:
        spread = value.replace(",", " \t, ").replace(" ", "\t ")
        assert variant_text(b"x", request(f"X: {value}")) == variant_text(b"x", request(f"X: {spread}"))
