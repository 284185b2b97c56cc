"""Path normalisation: tables, then the oracle, idempotence, and path_is_normal as what it says."""
from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxyd_ext.core.fault import faults
from proxyd_ext.http1.path import is_normal, merged, normalize
from tests.reference import http1_path as oracle

PATH_INVALID = -int(faults()["path_invalid"]["code"])

NORMAL = [
    b"/", b"*", b"/a", b"/a/", b"/a/b.c", b"//", b"/a//b", b"/...", b"/.a", b"/..a", b"/a.", b"/a..", b"/a/.../b", b"/%2F", b"/%5C",
    b"/a;b=c,d@e:f!$&'()*+~_-",
    b"/%25", b"/%252e", b"/%C3%A9", b"/%0D%0A", b"/%7F", b"/%20", b"/%3F", b"/%23",
]


@pytest.mark.parametrize("path", NORMAL)
def test_normal_paths_stay(path: bytes) -> None:
    assert is_normal(path)
    assert normalize(path) == path


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        (b"/%41%7a%30%2D%2e%5F%7E", b"/Az0-._~"),
        (b"/%2f%c3%a9%3a", b"/%2F%C3%A9%3A"),
        (b"/%2F", b"/%2F"),
        (b'/|^{}"<>`\\[]', b"/%7C%5E%7B%7D%22%3C%3E%60%5C%5B%5D"),
        (b"/.", b"/"),
        (b"/./", b"/"),
        (b"/a/.", b"/a/"),
        (b"/a/./b", b"/a/b"),
        (b"/a/..", b"/"),
        (b"/a/../", b"/"),
        (b"/a/../b", b"/b"),
        (b"/a/b/../../c", b"/c"),
        (b"/a/b/c/./../../g", b"/a/g"),
        (b"/a/%2e%2E/b", b"/b"),
        (b"/a/.%2e/b", b"/b"),
        (b"/%2e/a", b"/a"),
        (b"//..", b"/"),
        (b"/a//../b", b"/a/b"),
        (b"/a///../b", b"/a//b"),
        (b"/a/..//b", b"//b"),
        (b"/a/...%2f..a", b"/a/...%2F..a"),
        (b"/a/b;..;/c", b"/a/b;..;/c"),
        (b"/a\\b\\c", b"/a%5Cb%5Cc"),
    ],
)
def test_paths_that_change(path: bytes, normal: bytes) -> None:
    assert is_normal(path) == (path == normal)
    assert normalize(path) == normal
    assert is_normal(normal)


@pytest.mark.parametrize(
    "path",
    [
        b"", b"a", b"**", b"*/", b"?", b"/..", b"/../", b"/a/../..", b"/./..", b"/%2e%2e", b"/a/%2e%2e/%2E%2E/b", b"/../../etc/passwd",
        b"/%", b"/%4", b"/a%", b"/%zz", b"/%4g",
        b"/%g4", b"/%%41", b"/%2%65", b"/%u0041", b"/%00", b"/a%00.png", b"/\0", b"/ ", b"/a b", b"/\t", b"/\x7f", b"/\x80", b"/\xc3\xa9",
        b"/a?b", b"/a#b", b"/\r\n",
        b"/a/..%2f..", b"/a/%2e%2e%2f", b"/a/%2E%2fb", b"/a/b%5c..", b"/a/b%2f../c", b"/a\\..\\b", b"/..\\a", b"/a/..;/b", b"/a/..;x=1",
        b"/a/.;/b", b"/a/b%2F..;/c", b"/%2e%2e;a/b",
    ],
)
def test_paths_that_are_refused(path: bytes) -> None:
    assert not is_normal(path)
    assert normalize(path) == PATH_INVALID


def test_every_byte_raw_and_escaped() -> None:
    for c in range(256):
        for path in (b"/a" + bytes([c]) + b"b", b"/a%%%02xb" % c, b"/a%%%02Xb" % c):
            expected = oracle.normalize(path)
            assert normalize(path) == (PATH_INVALID if expected is None else expected), path


pieces = st.sampled_from([b"/", b"/", b"/", b".", b"..", b"%2e", b"%2E", b"%2f", b"%41", b"%25", b"%00", b"%", b"a", b"B~", b";x=1", b"|",
    b"\\", b"%c3%A9", b"[", b"?", b"\xff"])
paths = st.lists(pieces, max_size=14).map(lambda parts: b"/" + b"".join(parts))


@settings(max_examples=1000, deadline=None)
@given(paths)
@example(b"/a/b/c/" + b"../" * 3)
def test_against_the_oracle(path: bytes) -> None:
    expected = oracle.normalize(path)
    assert normalize(path) == (PATH_INVALID if expected is None else expected)
    assert is_normal(path) == (path == expected)
    if expected is not None:
        assert normalize(expected) == expected
        assert is_normal(expected)
        assert not {b".", b".."} & set(expected.split(b"/"))


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_at_all(data: bytes) -> None:
    expected = oracle.normalize(data)
    assert normalize(data) == (PATH_INVALID if expected is None else expected)
    assert is_normal(data) == (data == expected)


@pytest.mark.parametrize(
    ("path", "matched"),
    [
        (b"/", b"/"), (b"//", b"/"), (b"//admin", b"/admin"), (b"/a///b//", b"/a/b/"), (b"/a/b", b"/a/b"), (b"*", b"*"),
        (b"/a%2F/b", b"/a%2F/b"),
    ],
)
def test_routes_are_matched_with_merged_slashes(path: bytes, matched: bytes) -> None:
    assert merged(path) == matched
