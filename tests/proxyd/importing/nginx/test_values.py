from __future__ import annotations

import pytest

from proxyd.importing.nginx.values import duration, lifetime, parse_size, parse_time_ms, unescaped, variables, words_of


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("60", 60_000), ("500ms", 500), ("1m30s", 90_000), ("1h 30m", 5_400_000), ("2d", 172_800_000), ("1M", 2_592_000_000), ("", None),
        ("x", None),
    ],
)
def test_times(text: str, time_ms: int | None) -> None:
    assert parse_time_ms(text) == time_ms


def test_bounds_of_the_option_hold() -> None:
    assert duration("0", "1ms", "1d") == "1ms"
    assert duration("9y", "1ms", "1d") == "1d"
    assert duration("soon", "1ms", "1d") is None
    assert lifetime("90s") == "90s"
    assert lifetime("500ms") is None


def test_sizes() -> None:
    assert [parse_size(text) for text in ("8", "8k", "2M", "1g", "many")] == [8, 8192, 2_097_152, 1_073_741_824, None]


def test_variables() -> None:
    assert variables("a$b/${c}d$1") == ["b", "c", "1"]
    words = {"host": "host", "request_uri": "path,query", "is_args": ""}
    assert words_of("$host$is_args$request_uri$cookie_a", words, {"cookie_": "cookie"}) == ["host", "path", "query", "cookie:a"]
    assert words_of("$host$unknown", words, {}) is None
    assert words_of("$http_x_env", {}, {"http_": "header"}) == ["header:X-Env"]


def test_backslashes() -> None:
    assert unescaped(r"a\nb\"c\\d\.e") == 'a\nb"c\\d\\.e'
