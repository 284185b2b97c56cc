from __future__ import annotations

import pytest
from pydantic_core import PydanticCustomError

from proxyd.config.paths import check_path, check_prefix


@pytest.mark.parametrize(("text", "path"), [("/a/*", "/a/*"), ("/*", ""), ("", ""), ("/a%2Fb", "/a%2Fb"), ("/", "/")])
def test_paths_to_match(text: str, path: str) -> None:
    assert check_path(text) == path


@pytest.mark.parametrize("text", ["a", "/a/*/b", "/a?b", "/a#b", "/a b", "/%41", "/a%2f", "/a%", "/%00", "/a/../b"])
def test_what_never_matches(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        check_path(text)


@pytest.mark.parametrize(("text", "prefix"), [("/api", "/api"), ("/api/", "/api"), ("/api//", "/api"), ("/", "/"), ("//", "/")])
def test_prefixes(text: str, prefix: str) -> None:
    assert check_prefix(text) == prefix


@pytest.mark.parametrize("text", ["", "api", "/api/*", "*", "/a?b"])
def test_what_is_no_prefix(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        check_prefix(text)
